/** One place where we decided against what RabbitMQ 3.10 does. */
export interface Exception {
  /** What a client of RabbitMQ 3.10.8 sees. */
  readonly rabbitmq: unknown
  /** What a client of ours sees. */
  readonly leveret: unknown
  /** The row of appendix B that decides. */
  readonly why: string
}

/** By title of the test that asserts both sides. */
export const EXCEPTIONS = {
  'a frame_max below the minimum is refused with 530': {
    rabbitmq: '',
    leveret:
      'NOT_ALLOWED - negotiated frame_max = 2048 is lower than the minimum allowed value (4096)',
    why: 'row 6: 3.x closes the socket without a word; row 1: our minimum stays 4096',
  },
  'an exchange type nobody knows is refused': {
    rabbitmq: {
      code: 503,
      text: "COMMAND_INVALID - unknown exchange type 'x-conformance-unknown'",
    },
    leveret: {
      code: 406,
      text: "PRECONDITION_FAILED - unknown exchange type 'x-conformance-unknown'",
      classId: 40,
      methodId: 10,
    },
    why: 'row 7: since 4.x only the channel is closed',
  },
  'a delivery mode other than 2 makes a message transient': {
    rabbitmq: 'PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}',
    leveret: 3,
    why: 'section 2.23: every mode but 2 is transient; no reason to refuse one',
  },
  'the last death is told beside the first': {
    rabbitmq: {},
    leveret: {
      'x-last-death-reason': 'rejected',
      'x-last-death-queue': 'second',
      'x-last-death-exchange': 'dead letters',
    },
    why: 'row 19: x-last-death-* came with 3.13',
  },
  'an x-death header made up by a client is overwritten at the first death': {
    rabbitmq: [7, 4],
    leveret: [1],
    why: 'row 18: since 4.x counting belongs to the broker alone',
  },
  'with a dead-letter routing key only that one counts': {
    rabbitmq: 'removed',
    leveret: ['copied'],
    why: 'section 3.8: the CC header stays; 3.x removes it where the queue sets the key',
  },
  'a first delivery from a quorum queue carries no count': {
    rabbitmq: { own: 'x', 'x-delivery-count': 0 },
    leveret: { own: 'x' },
    why: 'row 16: since 4.x only what came back is counted',
  },
  'a refusal names the operation': {
    rabbitmq: 'not named',
    leveret: 'named',
    why: 'row 8: since 4.x the text begins with configure, write or read',
  },
  'a user with a limit has no more channels': {
    rabbitmq: '(1)',
    leveret: '1',
    why: 'section 1.5: 4.x writes the number without parentheses',
  },
} as const satisfies Record<string, Exception>

export type ExceptionalTitle = keyof typeof EXCEPTIONS

/** What this broker must answer in the test of this title. */
export function decided(broker: { readonly real: boolean }, title: ExceptionalTitle): unknown {
  const { rabbitmq, leveret } = EXCEPTIONS[title]
  return broker.real ? rabbitmq : leveret
}
