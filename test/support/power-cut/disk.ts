/**
 * A recorded directory (`recorder.c`), as a power cut at any point of the record could leave it. What was synced is
 * there. Of what was written since, a disk may have nothing, all, the first part, or any part: it writes in its own order,
 * and may have begun one block and not the next.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../../../src/runtime/clock.ts'

const HEAD_BYTES = 32
/** What a disk writes whole or not at all. */
const BLOCK_BYTES = 512

/** One step of the record. `told`: what the test itself wrote into it. */
export interface Step {
  kind: 'created' | 'written' | 'truncated' | 'began sync' | 'synced' | 'renamed' | 'removed' | 'told'
  inode: bigint
  /** Of a write; the size of a truncation; the thread of a sync. */
  offset: number
  name: string
  other: string
  data: Buffer
}

const KINDS: Record<string, Step['kind']> = {
  ...{ C: 'created', W: 'written', T: 'truncated', B: 'began sync', S: 'synced', R: 'renamed', U: 'removed' },
  A: 'told',
}

/** The steps of a trace, in their order. */
export function stepsOf(trace: Buffer): Step[] {
  const steps: Step[] = []
  for (let at = 0; at < trace.length; ) {
    const length = trace.readUInt32LE(at)
    const kind = KINDS[String.fromCharCode(trace.readUInt32LE(at + 4))]!
    const [nameLength, otherLength] = [trace.readUInt32LE(at + 24), trace.readUInt32LE(at + 28)]
    const namesAt = at + HEAD_BYTES
    const dataAt = namesAt + nameLength + otherLength
    steps.push({
      ...{ kind, inode: trace.readBigUInt64LE(at + 8), offset: Number(trace.readBigUInt64LE(at + 16)) },
      name: trace.toString('utf8', namesAt, namesAt + nameLength),
      other: trace.toString('utf8', namesAt + nameLength, dataAt),
      data: trace.subarray(dataAt, at + length),
    })
    at += length
  }
  return steps
}

/** A step of the test's own, for the end of the trace. */
export function toldStep(what: unknown): Buffer {
  const data = Buffer.from(JSON.stringify(what))
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(head.length + data.length, 0)
  head.writeUInt32LE('A'.charCodeAt(0), 4)
  return Buffer.concat([head, data])
}

/** How much of what was not synced is there. */
export type Remains = 'nothing' | 'all' | 'the first part' | 'any part'

/** A sequence of changes of which a part is durable. */
class Journal<T> {
  readonly #apply: (change: T) => void
  #pending: T[] = []
  #appliedCount = 0
  readonly #begun = new Map<number, number>()

  constructor(apply: (change: T) => void) {
    this.#apply = apply
  }

  add(change: T): void {
    this.#pending.push(change)
  }

  beginSync(thread: number): void {
    this.#begun.set(thread, this.#appliedCount + this.#pending.length)
  }

  endSync(thread: number): void {
    const count = Math.max(0, (this.#begun.get(thread) ?? 0) - this.#appliedCount)
    for (const change of this.#pending.splice(0, count)) this.#apply(change)
    this.#appliedCount += count
  }

  /** Those that a power cut leaves beside what is durable. */
  remaining(remains: Remains, random: Random): T[] {
    if (remains === 'nothing') return []
    if (remains === 'all') return this.#pending
    if (remains === 'any part') return this.#pending.filter(() => random() < 0.5)
    return this.#pending.slice(0, Math.floor(random() * (this.#pending.length + 1)))
  }
}

/** Bytes that grow. */
class Content {
  #bytes = Buffer.alloc(0)
  #size = 0

  clone(): Content {
    const copy = new Content()
    copy.#bytes = Buffer.from(this.bytes)
    copy.#size = this.#size
    return copy
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size)
  }

  change({ kind, offset, data }: Step): void {
    if (kind === 'truncated') {
      this.#resize(offset)
      return
    }
    if (offset + data.length > this.#size) this.#resize(offset + data.length)
    data.copy(this.#bytes, offset)
  }

  #resize(size: number): void {
    if (size > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(size, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#size)
      this.#bytes = larger
    } else if (size < this.#size) this.#bytes.fill(0, size, this.#size)
    this.#size = size
  }
}

class RecordedFile {
  readonly durable = new Content()
  readonly journal = new Journal<Step>((step) => this.durable.change(step))
  /** False until its creation is in the record: another process may have been faster to open and write it. */
  isNamed = false
}

/** The directory at the point up to which steps were added. */
export class RecordedDisk {
  readonly #byInode = new Map<bigint, RecordedFile>()
  readonly #names = new Map<string, RecordedFile>()
  readonly #durableNames = new Map<string, RecordedFile>()
  readonly #nameJournal = new Journal<(names: Map<string, RecordedFile>) => unknown>((change) =>
    change(this.#durableNames),
  )

  add(step: Step): void {
    const { kind, inode, offset, name, other } = step
    const journalOf = () => this.#fileOf(inode).journal
    const synced = () => (inode === 0n ? this.#nameJournal : journalOf())
    if (kind === 'created') this.#create(inode, name)
    else if (kind === 'renamed') this.#rename(name, other)
    else if (kind === 'removed') this.#changeNames((names) => names.delete(name))
    else if (kind === 'began sync') synced().beginSync(offset)
    else if (kind === 'synced') synced().endSync(offset)
    else if (kind !== 'told') journalOf().add(step)
  }

  /** Writes what a power cut leaves into an empty directory. */
  writeTo(directory: string, remains: Remains, random: Random): void {
    const names = new Map(this.#durableNames)
    const inOrder = remains === 'any part' ? 'the first part' : remains
    for (const change of this.#nameJournal.remaining(inOrder, random)) change(names)
    for (const [name, { durable, journal }] of names) {
      const content = durable.clone()
      for (const step of journal.remaining(remains, random))
        content.change(remains === 'any part' ? torn(step, random) : step)
      writeFileSync(join(directory, name), content.bytes)
    }
  }

  #create(inode: bigint, name: string): void {
    if (this.#fileOf(inode).isNamed) this.#byInode.delete(inode) // Of a file that was removed.
    const file = this.#fileOf(inode)
    file.isNamed = true
    this.#changeNames((names) => names.set(name, file))
  }

  #fileOf(inode: bigint): RecordedFile {
    const file = this.#byInode.get(inode) ?? new RecordedFile()
    this.#byInode.set(inode, file)
    return file
  }

  #rename(name: string, other: string): void {
    const file = this.#names.get(name)!
    this.#changeNames((names) => {
      names.delete(name)
      names.set(other, file)
    })
  }

  #changeNames(change: (names: Map<string, RecordedFile>) => unknown): void {
    change(this.#names)
    this.#nameJournal.add(change)
  }
}

/** A write of which the disk has written some blocks. */
function torn(step: Step, random: Random): Step {
  if (step.kind !== 'written' || random() < 0.8) return step
  const blocks = Math.floor((random() * step.data.length) / BLOCK_BYTES)
  return { ...step, data: step.data.subarray(0, blocks * BLOCK_BYTES) }
}
