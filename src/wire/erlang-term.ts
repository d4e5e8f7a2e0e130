// Prints bytes as Erlang does, because RabbitMQ's reply texts contain such terms and clients' tests compare them.
// Used by codec.ts, field-table.ts and the frame parser.

/** Octets as numbers, like Erlang's ~w: `<<0,20,0>>`. */
export function writeBinary(bytes: Uint8Array): string {
  return `<<${bytes.join(',')}>>`
}

/** Octets as text where all of them are printable Latin-1, else as numbers, like Erlang's ~p: `<<"abc">>`. */
export function printBinary(bytes: Uint8Array): string {
  if (bytes.length === 0 || !bytes.every(isPrintable)) return writeBinary(bytes)
  return `<<"${Array.from(bytes, printOctet).join('')}">>`
}

const snippetOctets = 16

/** The octets of a bad frame: `all octets = <<...>>`, or only the first 16. */
export function printSnippet(payload: Uint8Array): string {
  if (payload.length <= snippetOctets) return `all octets = ${printBinary(payload)}`
  return `first ${snippetOctets} octets = ${printBinary(payload.subarray(0, snippetOctets))}`
}

const escapes = new Map([
  [0x08, '\\b'],
  [0x09, '\\t'],
  [0x0a, '\\n'],
  [0x0b, '\\v'],
  [0x0c, '\\f'],
  [0x0d, '\\r'],
  [0x1b, '\\e'],
  [0x22, '\\"'],
  [0x5c, '\\\\'],
])

function isPrintable(octet: number): boolean {
  return (octet >= 0x20 && octet <= 0x7e) || octet >= 0xa0 || escapes.has(octet)
}

function printOctet(octet: number): string {
  return escapes.get(octet) ?? String.fromCharCode(octet)
}
