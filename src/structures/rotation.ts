/** Taking turns in a Map: its order is who comes first. */

/** Makes the first entry of a map its last. */
export function firstToLast<K, V>(map: Map<K, V>): void {
  for (const [key, value] of map) {
    map.delete(key)
    map.set(key, value)
    return
  }
}
