// 64-bit integers of the wire: a number where JavaScript can hold the value exactly, else a bigint.
// Used for delivery tags, timestamps and the long integers of field tables.

/** A 64-bit integer; two equal values always have the same JavaScript type. */
export type Integer64 = number | bigint

/** Reads a signed 64-bit integer. */
export function readSigned64(bytes: Buffer, at: number): Integer64 {
  const value = bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
  return Number.isSafeInteger(value) ? value : bytes.readBigInt64BE(at)
}

/** Reads an unsigned 64-bit integer. */
export function readUnsigned64(bytes: Buffer, at: number): Integer64 {
  const value = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
  return Number.isSafeInteger(value) ? value : bytes.readBigUInt64BE(at)
}

/** Writes a 64-bit integer, signed or unsigned: the octets are the same. Returns where it ends. */
export function writeInteger64(target: Buffer, at: number, value: Integer64): number {
  if (typeof value === 'bigint') return target.writeBigUInt64BE(BigInt.asUintN(64, value), at)
  target.writeInt32BE(Math.floor(value / 2 ** 32) | 0, at)
  return target.writeUInt32BE(value >>> 0, at + 4)
}
