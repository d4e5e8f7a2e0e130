/** Where a connection stands between its first byte and its last. */

/**
 * `leaving`: the client sent connection.close, and its answer waits for the channels. `refused`: we
 * sent it. `deaf`: what comes is no longer understood.
 */
export type ConnectionState =
  | 'header'
  | 'handshake'
  | 'running'
  | 'leaving'
  | 'refused'
  | 'deaf'
  | 'closed'
