/** How much room the data takes, and how much is left. */
import { readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Measures a directory and its disk. What vanishes meanwhile does not count.
 *
 * @returns Sizes in bytes: of the files in the directory, and the room that is free for this user. Undefined when there
 * is no such directory, or it cannot be read.
 */
export async function diskOf(
  directory: string,
): Promise<{ dataBytes: number; freeBytes: number } | undefined> {
  try {
    const { bavail, bsize } = await statfs(directory)
    let dataBytes = 0
    for (const name of await readdir(directory, { recursive: true })) {
      const found = await stat(join(directory, name)).catch(() => undefined)
      if (found?.isFile()) dataBytes += found.size
    }
    return { dataBytes, freeBytes: bavail * bsize }
  } catch {
    return undefined
  }
}
