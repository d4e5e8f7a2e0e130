/** The tables of conformance/README.md name tests that exist, and no row is without a test or a reason. */
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'

const readme = readFileSync('conformance/README.md', 'utf8')

interface Row {
  readonly number: string
  /** Every cell behind the number. */
  readonly cells: readonly string[]
}

/** The numbered rows of the table under a heading. */
function rows(text: string, heading: string): Row[] {
  const [, under = ''] = text.split(`\n## ${heading}\n`)
  const [section = ''] = under.split('\n## ')
  return section
    .split('\n')
    .filter(line => /^\| \d/.test(line))
    .map(line => {
      const [number = '', ...cells] = line.replace(/^\| | \|$/g, '').split(' | ')
      return { number, cells }
    })
}

/** Where the file stands that a table calls `tx`, `clients/pika` or `spec/amqp/connection`. */
function path(name: string): string {
  return name.startsWith('spec/') ? `${name}.spec.ts` : `conformance/${name}.spec.ts`
}

/** What stands first in a call, as in `test('…'`, or in a list of cases, without the escape of '. */
function titles(file: string): Set<string> {
  const source = readFileSync(file, 'utf8')
  const calls = source.matchAll(
    /[([]\s*(?:'((?:\\.|[^'\\\n])*)'|`((?:\\.|[^`\\])*)`|"([^"\n]*)"),/g,
  )
  return new Set(Array.from(calls, ([, a, b, c]) => (a ?? b ?? c ?? '').replaceAll("\\'", "'")))
}

const known = new Map<string, Set<string>>()

/** What is wrong with the last cell of a row; nothing if it names tests that exist, or gives a reason. */
function mistakes(cell: string): string[] {
  if (/^not yet: \S/.test(cell)) return []
  return cell.split(' <br> ').flatMap(reference => {
    const [, name = '', title = ''] = /^`([^`]+)` (.+)$/.exec(reference) ?? []
    if (title === '') return [`neither a test nor a reason: ${reference}`]
    const file = path(name)
    if (!existsSync(file)) return [`no file ${file}`]
    if (!known.has(file)) known.set(file, titles(file))
    return known.get(file)?.has(title) ? [] : [`no test in ${file}: ${title}`]
  })
}

for (const [heading, count] of [
  ['The checklist', 242],
  ['Most commonly missed', 25],
  ['What other brokers shipped wrong', 52],
  ['Where versions of RabbitMQ disagree', 40],
  ['What always holds', 27],
] as const)
  t.test(`each row of "${heading}" names tests that exist, or says why there is none`, async t => {
    const table = rows(readme, heading)
    const numbers = Array.from({ length: count }, (_, i) => `${i + 1}`)
    t.strictSame(
      table.map(row => row.number),
      numbers,
      'every row is there, in order',
    )
    const wrong = table.flatMap(({ number, cells }) =>
      mistakes(cells.at(-1) ?? '').map(mistake => `row ${number}: ${mistake}`),
    )
    t.strictSame(wrong, [])
  })

t.test('each row of the checklist has a priority', async t => {
  for (const { number, cells } of rows(readme, 'The checklist')) {
    t.equal(cells.length, 3, `row ${number} has its three cells`)
    t.match(cells[0], /^[123–]$/, `row ${number}`)
  }
})

t.test('a test that is named for a mistake stands in the row of that mistake', async t => {
  const table = rows(readme, 'What other brokers shipped wrong')
  for (const { number, cells } of table)
    for (const [, named = ''] of (cells.at(-1) ?? '').matchAll(/\(regressions? ([\d, ]+)\)/g))
      t.ok(named.split(', ').includes(number), `row ${number} names a test of ${named}`)
})

t.test('what is wrong in a table is seen', async t => {
  t.strictSame(mistakes('`tx` publishes reach their queues at commit'), [])
  t.strictSame(mistakes('`tx` no such title'), ['no test in conformance/tx.spec.ts: no such title'])
  t.strictSame(mistakes('`nowhere` a title'), ['no file conformance/nowhere.spec.ts'])
  t.strictSame(mistakes('later'), ['neither a test nor a reason: later'])
  t.strictSame(mistakes('not yet: '), ['neither a test nor a reason: not yet: '])
  t.strictSame(rows('\n## A\n| 1 | x | y |\n\n## B\n| 2 | z |\n', 'A'), [
    { number: '1', cells: ['x', 'y'] },
  ])
})
