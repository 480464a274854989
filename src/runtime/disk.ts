/** How much room the data takes, and how much is left. */
import { readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'

/** The room, in bytes, that is free for this user on the disk of a directory; undefined when it cannot be told. */
export async function freeBytesOf(directory: string): Promise<number | undefined> {
  const found = await statfs(directory).catch(() => undefined)
  return found && found.bavail * found.bsize
}

/** The files in a directory, and the bytes of all. What vanishes meanwhile does not count. Undefined: it cannot be read. */
export async function dataOf(directory: string): Promise<{ fileCount: number; bytes: number } | undefined> {
  try {
    const data = { fileCount: 0, bytes: 0 }
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      data.bytes += (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0
      data.fileCount++
    }
    return data
  } catch {
    return undefined
  }
}
