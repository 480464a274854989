/** A file system of its own for a test's data, small enough to fill. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { TestContext } from 'node:test'

/**
 * Mounts one of `sizeMb` in memory, unmounted with the test.
 *
 * @returns Its directory; undefined where only root could and we are not, or the kernel does not let us.
 * @throws When it cannot, and `CI` is true: there it has to be tested.
 */
export function smallDisk(
  context: Pick<TestContext, 'after' | 'diagnostic'>,
  sizeMb: number,
): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    rmdirSync(path)
    if (process.env['CI'] === 'true') throw error
    context.diagnostic('No full disk in this run: mounting a small file system needs root')
    return undefined
  }
  context.after(() => {
    execFileSync('umount', ['--lazy', path])
    rmdirSync(path)
  })
  return path
}

/** A disk that can be made read-only under open files, as the kernel does after an error. */
export interface FragileDisk {
  path: string
  goReadOnly(): void
  /** Unmounts it, which must not be in use, repairs it and mounts it writable under the same path. */
  repair(): void
}

/**
 * Mounts one of `sizeMb`.
 *
 * @param place Where its image is kept.
 * @returns, @throws As `smallDisk`.
 */
export function readOnlyDisk(
  context: Pick<TestContext, 'after' | 'diagnostic'>,
  sizeMb: number,
  place = tmpdir(),
): FragileDisk | undefined {
  const parent = mkdtempSync(join(place, 'mailroom-disk-'))
  const [image, path] = [join(parent, 'image'), join(parent, 'disk')]
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'pipe' })
  const mount = () => run('mount', '-o', 'loop,errors=remount-ro', image, path)
  try {
    run('truncate', '-s', `${sizeMb}M`, image)
    run('mkfs.ext4', '-q', '-m', '0', image)
    mkdirSync(path)
    chmodSync(parent, 0o755) // A node that is not root's has its data on it.
    mount()
  } catch (error) {
    rmSync(parent, { recursive: true })
    if (process.env['CI'] === 'true') throw error
    context.diagnostic('No read-only disk in this run: mounting a file system needs root and a loop device')
    return undefined
  }
  context.after(() => {
    run('umount', '--lazy', path)
    rmSync(parent, { recursive: true })
  })
  return {
    path,
    goReadOnly() {
      const device = basename(String(run('findmnt', '-n', '-o', 'SOURCE', path)).trim())
      writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, 'now')
    },
    repair() {
      run('umount', path)
      const { status, stderr } = spawnSync('e2fsck', ['-p', image])
      // 1: it has repaired something.
      if (status !== 0 && status !== 1) throw new Error(`e2fsck: ${status} ${stderr}`)
      mount()
    },
  }
}

/** Takes all room there is with a file; may be called again, to take what was given back. */
export function fill(path: string): void {
  const file = openSync(path, 'a')
  try {
    const block = Buffer.alloc(64 * 1024)
    for (let sizeBytes = block.length; sizeBytes >= 512; ) {
      try {
        const { bavail } = statfsSync(path)
        if (bavail === 0) return
        writeSync(file, block, 0, sizeBytes)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        sizeBytes /= 2
      }
    }
  } finally {
    closeSync(file)
  }
}
