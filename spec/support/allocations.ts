/** What a task allocates in buffers, so that a spec can say how much memory an input may cost. */

const makers = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const

/** Runs the task and returns the sizes of the buffers it asked for. */
export function allocationsOf(task: () => void): number[] {
  const sizes: number[] = []
  const kept = makers.map(name => Buffer[name])
  makers.forEach((name, i) => {
    const make = kept[i] as (size: number) => Buffer
    Object.assign(Buffer, {
      [name]: (size: number) => {
        sizes.push(size)
        return make(size)
      },
    })
  })
  try {
    task()
  } finally {
    makers.forEach((name, i) => {
      Object.assign(Buffer, { [name]: kept[i] })
    })
  }
  return sizes
}
