/** What is drawn on a terminal: the bar of `send`, the screen of `status --watch`, the table. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { actorsTable, type ShownActor } from '../../src/commands/actors-table.ts'
import { type Keys, ProgressBar, printable, Screen } from '../../src/commands/terminal.ts'

/** A terminal that remembers what was written to it. */
class FakeTerminal {
  columns = 60
  rows = 5
  written = ''

  write(text: string): void {
    this.written += text
  }

  /** What was written since the last look. */
  take(): string {
    const written = this.written
    this.written = ''
    return written
  }
}

class FakeKeys implements Keys {
  isRaw = false
  isPaused = false
  press: ((keys: Buffer) => void) | undefined

  setRawMode(isRaw: boolean): void {
    this.isRaw = isRaw
  }

  on(_: 'data', listener: (keys: Buffer) => void): void {
    this.press = listener
  }

  off(): void {
    this.press = undefined
  }

  pause(): void {
    this.isPaused = true
  }
}

test('a progress bar never exceeds the width of the terminal', () => {
  const terminal = new FakeTerminal()
  for (const columns of [20, 40, 60, 200]) {
    terminal.columns = columns
    new ProgressBar(terminal, 100).update(50, '12345 sent')
    const line = stripVTControlCharacters(terminal.take()).replace('\r', '')
    assert.ok(line.length < columns, `${line.length} of ${columns}`)
    if (columns >= 60) assert.match(line, /^█+░+ {2}50 % {2}12345 sent {2}\d+ s to go$/)
  }
})

test('a progress bar is redrawn at most ten times a second; clear removes it', () => {
  const terminal = new FakeTerminal()
  const bar = new ProgressBar(terminal, 100)
  bar.clear()
  assert.equal(terminal.take(), '', 'nothing was there to clear')
  for (let done = 0; done < 1000; done++) bar.update(done / 10, `${done} sent`)
  assert.ok(terminal.take().split('\r').length < 20)
  bar.clear()
  assert.equal(terminal.take(), '\r\x1b[K')
  bar.update(100, 'all sent')
  assert.match(terminal.take(), /100 % {2}all sent {2}0 s to go$/)
})

test('a progress bar without a total shows only the words', () => {
  const terminal = new FakeTerminal()
  new ProgressBar(terminal, 0).update(50, '7 sent')
  assert.equal(terminal.take(), '\r\x1b[K7 sent')
})

test('a screen cuts what does not fit and restores the terminal', () => {
  const terminal = new FakeTerminal()
  const keys = new FakeKeys()
  const screen = new Screen(keys, terminal)
  assert.ok(keys.isRaw)
  assert.ok(terminal.take().includes('\x1b[?1049h'))
  screen.show(Array.from({ length: 9 }, (_, index) => `${index} ${'x'.repeat(99)}`).join('\n'))
  const lines = stripVTControlCharacters(terminal.take()).split('\n')
  assert.deepEqual(
    lines.map((line) => line.length),
    [60, 60, 60, 60, 8],
  )
  assert.equal(lines.at(-1), '… 5 more')
  screen.close()
  assert.equal(terminal.take(), '\x1b[?25h\x1b[?1049l')
  assert.deepEqual([keys.isRaw, keys.isPaused, keys.press], [false, true, undefined])
})

test('only q, Ctrl-C and Ctrl-D leave a screen', () => {
  for (const [typed, leaves] of [
    ['q', true],
    ['\x03', true],
    ['\x04', true],
    ['xyz q', true],
    ['x', false],
  ] as const) {
    const keys = new FakeKeys()
    const { left } = new Screen(keys, new FakeTerminal())
    keys.press!(Buffer.from(typed))
    assert.equal(left.aborted, leaves, JSON.stringify(typed))
  }
})

test('the table of actors is aligned; it has a column of rates when rates are given', () => {
  const actor: ShownActor = {
    ...{ name: 'facade-1', role: 'facade', pid: 12, state: 'ready', restarts: 0, handled: 5 },
    mailbox: { depth: 1, capacity: 10, refused: 2 },
  }
  const other = { ...actor, name: 'messages-10', waiting: 1234567, dead: 3, oldestAt: null }
  const plain = stripVTControlCharacters(actorsTable([actor, other])).split('\n')
  assert.match(plain[0]!, /^ACTOR .*DEAD$/)
  assert.equal(plain[1]!.length, plain[0]!.length)
  assert.equal(plain[2]!.length, plain[0]!.length)
  const rated = stripVTControlCharacters(actorsTable([actor], new Map([['facade-1', 41.7]])))
  assert.match(rated, /PER SECOND\n.* 42$/)
})

test('printable escapes control characters and characters that reverse text', () => {
  const shown = printable({ text: '\x1b[2J\x9b2J\u202egnp.\u2028\x7f\r\n' })
  const harmful = [...shown].filter((character) => /[\p{C}\p{Zl}\p{Zp}]/u.test(character))
  assert.deepEqual(harmful, [])
  assert.equal(JSON.parse(shown).text, '\x1b[2J\x9b2J\u202egnp.\u2028\x7f\r\n')
})
