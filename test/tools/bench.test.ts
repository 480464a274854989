/** The pure parts of the benches. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { barChart } from '../../bench/lib/chart.ts'
import { median, percentile, shown, shownSpread, spread, table } from '../../bench/lib/figures.ts'
import { fileSystemOf } from '../../bench/lib/machine.ts'
import { markdownTable, withSection } from '../../bench/lib/markdown.ts'
import { middleOf } from '../../bench/lib/pages.ts'
import { familyOf, parseField, parseStat, usageOf } from '../../bench/lib/processes.ts'
import { ratioTable } from '../../bench/lib/ratios.ts'
import { fillerOf, idOf, mustEqual, Tally, tallyOf } from '../../bench/lib/texts.ts'

test('a percentile is the smallest value that so many do not exceed', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1)
  assert.deepEqual(
    [0, 0.5, 0.99, 1].map((share) => percentile(hundred, share)),
    [1, 50, 99, 100],
  )
  assert.equal(percentile([], 0.5), Number.NaN)
})

test('a spread is of values in any order', () => {
  assert.deepEqual(spread([10, 9, 100]), { median: 10, least: 9, most: 100 })
  assert.equal(median([4, 1, 3, 2]), 2)
  assert.equal(shownSpread({ median: 12_345.6, least: 1, most: 2e6 }), '12,346 (1 to 2,000,000)')
  assert.equal(shown(Number.NaN), '-')
})

test('a table aligns figures right, texts left', () => {
  const rows = [
    ['', 'a second', 'stored'],
    ['Koa', '1', 'nothing'],
    ['Mailroom', '12', 'a row'],
  ]
  assert.equal(
    table(rows),
    [
      '          a second  stored',
      '--------  --------  -------',
      'Koa              1  nothing',
      'Mailroom        12  a row',
    ].join('\n'),
  )
})

test('ratios are medians over the rounds, and their caption names every loss', () => {
  const figure = (name: string, round: number, connections: number, perSecond: number, cpuUs: number) => ({
    ...{ name, round, connections, perSecond, cpuUs },
  })
  const figures = [
    ...[figure('ours', 1, 64, 100, 10), figure('ours', 2, 64, 100, 10), figure('ours', 3, 64, 100, 10)],
    ...[figure('bare', 1, 64, 200, 5), figure('bare', 2, 64, 400, 5), figure('bare', 3, 64, 50, 5)],
    ...[figure('broker', 1, 64, 50, 5), figure('broker', 2, 64, 50, 8), figure('broker', 3, 64, 50, 20)],
    ...[figure('ours', 1, 1, 100, 10), figure('bare', 1, 1, 100, 10), figure('broker', 1, 1, 200, 20)],
  ]
  const others = [
    { name: 'bare', title: 'Bare', stores: false },
    { name: 'broker', title: 'Broker', stores: true },
  ]
  const { caption, rows } = ratioTable('ours', 'Ours', others, figures)
  assert.deepEqual(rows, [
    [
      '',
      '201 a second, 64 connections',
      '201 a second, 1 connection',
      'CPU a message, 64 connections',
      'CPU a message, 1 connection',
    ],
    ['Ours / Bare', '0.50', '1.00', '2.00', '1.00'],
    ['Ours / Broker', '2.00', '0.50', '1.25', '0.50'],
  ])
  assert.ok(
    caption.endsWith('Ours loses to: Broker (201 a second, 1 connection; CPU a message, 64 connections).'),
  )
  assert.match(ratioTable('ours', 'Ours', [], figures).caption, /loses to: none/)
})

test('the file system of a directory is that of the longest mount point above it', () => {
  const mounts =
    '/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n/dev/vdc /tm btrfs rw 0 0\n'
  const directories = ['/', '/var/tmp', '/tmp', '/tmp/x', '/tmp/disk/x', '/tmp/diskette']
  assert.deepEqual(
    directories.map((directory) => fileSystemOf(directory, mounts)),
    ['ext4', 'ext4', 'tmpfs', 'tmpfs', 'xfs', 'tmpfs'],
  )
  assert.equal(fileSystemOf('/tmp', ''), 'unknown file system')
})

test('/proc/<pid>/stat is read behind a command with spaces and brackets', () => {
  const fields = 'S 7 1 1 0 -1 4194304 1 2 3 4 150 50 20 10 20 0 1 0 100 1 1'
  assert.deepEqual(parseStat(`42 (a) b (c) ${fields}`), { parent: 7, cpuSeconds: 2.3 })
})

test('a field of /proc is a number, and 0 when it is not there', () => {
  const rollup = 'Rss:   10 kB\nPss:              2048 kB\nPss_Dirty: 1 kB\n'
  assert.equal(parseField(rollup, 'Pss'), 2048)
  assert.equal(parseField(rollup, 'Swap'), 0)
})

test('a family is the roots and all their descendants, in whatever order they are listed', () => {
  const parents = new Map([
    [5, 4],
    [4, 2],
    [3, 1],
    [2, 1],
    [9, 8],
  ])
  assert.deepEqual(familyOf([2], parents).sort(), [2, 4, 5])
})

test('this process uses CPU time and memory', { skip: process.platform !== 'linux' && 'not Linux' }, () => {
  const { processes, cpuSeconds, pssMib } = usageOf([process.pid])
  assert.ok(processes >= 1 && cpuSeconds > 0 && pssMib > 1)
})

test('texts of a run are unique and of the size that was asked for', () => {
  const text = idOf('r', 17) + fillerOf('r', 400)
  assert.equal(text.length, 400)
  assert.match(text, /^r-000000017\.x+$/)
})

test('a tally is the same in any order, and tells a loss, a repeat and another text', () => {
  const texts = [2, 0, 1].map((number) => idOf('r', number) + fillerOf('r', 100))
  const tallied = (given: string[]) => {
    const tally = new Tally()
    for (const text of given) tally.add(text)
    return tally
  }
  mustEqual('same', tallyOf('r', 3, 100), tallied(texts))
  const [a, b, c] = texts as [string, string, string]
  for (const wrong of [
    [a, b],
    [a, b, c, c],
    [a, b, b],
    [a, b, `${c}.`],
  ]) {
    assert.throws(
      () => mustEqual('other', tallyOf('r', 3, 100), tallied(wrong)),
      /3 messages were acknowledged/,
    )
  }
})

test('the middle of two ids is between them', () => {
  const [low, high] = ['01M8849CGQESRFCZH81BCVKS01', '01M8849CW33R6AZB5DXMH8ARTD']
  assert.ok(low < middleOf(low, high) && middleOf(low, high) < high)
})

test('a table of Markdown names its head once and aligns as the terminal does', () => {
  const rows = [
    ['', 'a second'],
    ['Koa', '1'],
  ]
  assert.equal(
    markdownTable(rows),
    ['|     | a second |', '| --- | -------: |', '| Koa |        1 |'].join('\n'),
  )
})

test('a section replaces what is between its marks, and nothing else', () => {
  const page = 'a\n<!-- bench: x -->\nold\n<!-- end -->\nb\n<!-- bench: y -->\n<!-- end -->\n'
  const after = withSection(page, 'x', 'new')
  assert.equal(after, 'a\n<!-- bench: x -->\n\nnew\n\n<!-- end -->\nb\n<!-- bench: y -->\n<!-- end -->\n')
  assert.throws(() => withSection(page, 'z', 'new'), /no <!-- bench: z -->/)
})

test('a chart has a bar a system, the longest for the largest value', () => {
  const bars = [
    { label: 'Koa & co', value: 200 },
    { label: 'Mailroom', value: 100 },
  ]
  const svg = barChart({ name: 'x', title: 'posts < all', bars })
  assert.match(svg, /posts &lt; all/)
  assert.match(svg, /Koa &amp; co/)
  const widths = [...svg.matchAll(/class="(\w+)" x="\d+" y="\d+" width="(\d+)"/g)].map(([, kind, width]) => [
    kind,
    Number(width),
  ])
  assert.deepEqual(widths, [
    ['bar', 450],
    ['ours', 225],
  ])
})
