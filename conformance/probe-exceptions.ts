/** A case to which we decided to answer otherwise than RabbitMQ 3.10 does. */
export interface Exception {
  /** The title of the case. */
  readonly title: string
  readonly rabbit310: string | RegExp
  readonly leveret: string | RegExp
  /** Where the decision stands; all are in the catalogue of AMQP behaviour. */
  readonly why: string
}

const negotiation = (title: string, text: string): Exception => ({
  title,
  rabbit310: 'dropped',
  leveret: `connection 530 10,30 NOT_ALLOWED - negotiated ${text}`,
  why: 'appendix B row 6',
})

const malformed = (title: string, rabbit310 = 'connection 541 0,0 INTERNAL_ERROR'): Exception => ({
  title,
  rabbit310,
  leveret: /^connection 502 \d+,\d+ SYNTAX_ERROR/,
  why: 'section 2.22: what makes RabbitMQ crash is a syntax error',
})

const unknownType = (title: string, rabbit310: string | RegExp): Exception => ({
  title,
  rabbit310,
  leveret:
    /^channel 406 50,10 PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '.+' in vhost '\/': "unsupported queue type 'stream'"$/,
  why: 'streams are refused until they are there',
})

/** 3.10 knows where a leader is to be for quorum queues and streams alone. */
const leaderLocator = (locator: string, leveret: string | RegExp = 'queue.declare-ok') => ({
  title: `4.1 classic with x-queue-leader-locator S ${locator}`,
  rabbit310:
    /^channel 406 50,10 PRECONDITION_FAILED - invalid arg 'x-queue-leader-locator' for queue '.+' in vhost '\/' of queue type rabbit_classic_queue$/,
  leveret,
  why: 'section 4.1: since 4.x classic queues take it too',
})

export const exceptions: readonly Exception[] = [
  // ------------------------------------------------------------------------------------- frames
  {
    title: '1.1 a start-ok of 6000 bytes',
    rabbit310: 'dropped',
    leveret: 'connection.tune',
    why: 'appendix B row 2',
  },
  {
    title: '1.1 a fragment beyond the announced size is 501',
    rabbit310: 'silence',
    leveret: 'connection 501 60,40 FRAME_ERROR - content body frame exceeds remaining content size',
    why: 'section 1.1: 4.3 checks, 3.10 waits for a sum it will never reach',
  },
  {
    title: '1.1 an announced body above 512 MiB is 501',
    rabbit310: 'silence',
    leveret:
      'connection 501 60,40 FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912',
    why: 'section 1.1: 4.3 checks at the header',
  },
  {
    title: '1.1 an announced body of 2^63 bytes',
    rabbit310: 'silence',
    leveret:
      'connection 501 60,40 FRAME_ERROR - content body size 9223372036854775808 exceeds maximum allowed size 536870912',
    why: 'section 1.1: 4.3 checks at the header',
  },
  {
    title: '1.1 an unknown class id',
    rabbit310: 'dropped',
    leveret: /^connection 503 \d+,\d+ COMMAND_INVALID - unknown method$/,
    why: 'appendix B row 37',
  },
  {
    title: '1.1 an unknown method id',
    rabbit310: 'dropped',
    leveret: /^connection 503 \d+,\d+ COMMAND_INVALID - unknown method$/,
    why: 'appendix B row 37',
  },
  malformed('1.1 properties that end too early cost the connection'),

  // --------------------------------------------------------------------------------- connection
  {
    title: '1.2 the header of AMQP 0-8 (1 1 8 0)',
    rabbit310: 'connection.start 8-0 capabilities []',
    leveret: 'AMQP\x00\x00\x09\x01',
    why: 'appendix B row 5',
  },
  {
    title: '1.2 the header of AMQP 0-8 (1 1 9 1)',
    rabbit310: 'connection.start 8-0 capabilities []',
    leveret: 'AMQP\x00\x00\x09\x01',
    why: 'appendix B row 5',
  },
  {
    title: '1.3 server-properties are sorted by name and typed S',
    rabbit310: 'capabilities cluster_name copyright information platform product version',
    leveret:
      'capabilities cluster_name copyright information leveret_version platform product version',
    why: 'appendix B row 34; operators may add keys (1.3)',
  },
  negotiation(
    '1.5 tune-ok with channel_max 0',
    'channel_max = 0 (no limit) is higher than the maximum allowed value (2047)',
  ),
  negotiation(
    '1.5 tune-ok with channel_max 2048',
    'channel_max = 2048 is higher than the maximum allowed value (2047)',
  ),
  negotiation(
    '1.5 tune-ok with frame_max 0',
    'frame_max = 0 is higher than the maximum allowed value (131072)',
  ),
  negotiation(
    '1.5 tune-ok with frame_max 131073',
    'frame_max = 131073 is higher than the maximum allowed value (131072)',
  ),
  negotiation(
    '1.5 tune-ok with frame_max 4095',
    'frame_max = 4095 is lower than the minimum allowed value (4096)',
  ),
  {
    title: '1.6 the empty vhost',
    rabbit310: 'connection 530 10,40 NOT_ALLOWED - vhost  not found',
    leveret: 'connection.open-ok',
    why: 'appendix B row 40',
  },
  {
    title: '1.8 close and FIN at once get close-ok and the end',
    rabbit310: /^(connection\.close-ok)?$/,
    leveret: 'connection.close-ok',
    why: 'section 1.8: frames before FIN are processed; 3.10 just ends the socket if FIN comes ahead of its answer',
  },

  // -------------------------------------------------------------------------------- definitions
  {
    title: '2.3 an unknown exchange type',
    rabbit310: "connection 503 40,10 COMMAND_INVALID - unknown exchange type 'no-such-type'",
    leveret: "channel 406 40,10 PRECONDITION_FAILED - unknown exchange type 'no-such-type'",
    why: 'appendix B row 7',
  },
  {
    title: '2.3 a known word that is no exchange type',
    rabbit310: "connection 503 40,10 COMMAND_INVALID - invalid exchange type 'classic'",
    leveret: /^channel 406 40,10 PRECONDITION_FAILED - (unknown|invalid) exchange type 'classic'$/,
    why: 'appendix B row 7',
  },

  // ------------------------------------------------------------------------ arguments of queues
  {
    title: '4.1 classic with x-delivery-limit I 5',
    rabbit310:
      /^channel 406 50,10 PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue '.+' in vhost '\/' of queue type rabbit_classic_queue$/,
    leveret: 'queue.declare-ok',
    why: 'an extension of ours: classic queues may have a delivery limit',
  },
  {
    title: '4.1 quorum with x-delivery-limit S 20',
    rabbit310: 'queue.declare-ok',
    leveret:
      /^channel 406 50,10 PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue '.+' in vhost '\/': "expected integer, got longstr"$/,
    why: 'section 4.1: 4.x checks it, 3.10 does not',
  },
  leaderLocator('client-local'),
  leaderLocator('balanced'),
  leaderLocator('least-leaders'),
  leaderLocator(
    'nearby',
    /^channel 406 50,10 PRECONDITION_FAILED - invalid arg 'x-queue-leader-locator' for queue '.+' in vhost '\/': invalid_queue_locator_arg$/,
  ),

  // ------------------------------------------------------------------- queue types still to come
  unknownType(
    '2.9 a stream cannot be purged',
    /^connection 540 50,30 NOT_IMPLEMENTED - queue.purge not supported by stream queues queue '.+' in vhost '\/'$/,
  ),
  unknownType(
    '2.16 a stream has no basic.get',
    /^connection 540 60,70 NOT_IMPLEMENTED - basic.get not supported by stream queues queue '.+' in vhost '\/'$/,
  ),

  // -------------------------------------------------------------------------------------- basic
  {
    title: '2.13 a client that answers a cancel of the broker',
    rabbit310: 'connection 503 60,31 COMMAND_INVALID - unimplemented method',
    leveret: 'basic.qos-ok',
    why: 'section 2.13: a cancel-ok from the client is tolerated',
  },
  {
    title: '2.14 a delivery mode that is neither 1 nor 2',
    rabbit310: 'channel 406 60,40 PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}',
    leveret: 'basic.get-ok',
    why: 'section 2.23: only 2 is persistent, everything else is transient',
  },

  {
    title: '2.15 a mandatory direct reply that is delivered',
    rabbit310: 'basic.return',
    leveret: '',
    why: 'appendix B row 22; 3.10 returns even what it delivers (2.15)',
  },
  {
    title: '2.15 a mandatory direct reply to a requester who is gone',
    rabbit310: 'basic.return',
    leveret: '',
    why: 'appendix B row 22',
  },

  // ------------------------------------------------------------------------------------ replies
  {
    title: '4.13 each reply takes a delivery tag',
    rabbit310: '2 2 2',
    leveret: '2 3 4',
    why: 'section 4.13: since 4.2 a reply is numbered like any delivery; 3.10 forgets to count',
  },
  {
    title: '4.13 the tag of a reply consumer is not free for another',
    rabbit310: 'basic.consume-ok',
    leveret: "connection 530 60,20 NOT_ALLOWED - attempt to reuse consumer tag 'reply'",
    why: 'section 4.13: tag rules as usual; 3.10 looks one way only',
  },
  {
    title: '4.13 a reply to a made-up name goes nowhere',
    rabbit310: 'connection 541 0,0 INTERNAL_ERROR',
    leveret: 'channel.flow-ok',
    why: 'section 4.13: a reply to nobody is dropped; 3.10 fails to take such names apart',
  },
  {
    title: '4.13 the pseudo-queue cannot be bound',
    rabbit310: /^channel 404 50,20 NOT_FOUND - no queue 'amq\.rabbitmq\.reply-to' in vhost '\/'$/,
    leveret:
      'channel 403 50,20 ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue',
    why: 'appendix B row 23',
  },
  {
    title: '4.13 replies in a transaction come at its commit',
    rabbit310: 'basic.deliver',
    leveret: '',
    why: 'section 2.20: publishes arrive at commit; 3.10 sends replies while it routes',
  },

  // ------------------------------------------------------------------------------------- tables
  malformed('2.22 a field of type U in headers'),
  malformed('2.22 a field of type Z in headers'),
  malformed('2.22 a field of type U in queue arguments', 'dropped'),
  malformed('2.22 a table whose lengths do not add up costs the connection'),
  malformed('2.23 bytes after the last property cost the connection'),
  malformed('2.23 the flag of a continuation costs the connection'),
]
