/** Where the management API answers otherwise than the RabbitMQ 3.10 of the transcripts, by their number, and why. */

export interface TranscriptException {
  /** How our answer begins: status, a space, body. */
  readonly answers: string
  readonly why: string
}

const text = 'a reason is always a text: clients decode it as one'
const stream = 'there are no streams yet'
const four = 'as RabbitMQ 4.3 does'
const overAmqp = 'in the recorded broker AMQP clients had been there before'
const ports = 'other ports'
const missing = '404 {"error":"Object Not Found"'
const notYet = 'not there yet'

export const exceptions: ReadonlyMap<number, TranscriptException> = new Map([
  [5, { answers: '200 {"name":"ops"', why: 'another name of the node' }],
  [24, { answers: '400 {"error":"bad_request","reason":"', why: text }],
  [58, { answers: '400 {"error":"bad_request","reason":"', why: stream }],
  [66, { answers: '400 {"error":"bad_request","reason":"not_boolean: maybe"', why: text }],
  [72, { answers: '201 ', why: 'another hash of arguments in the name of a binding' }],
  [73, { answers: '201 ', why: 'RabbitMQ fails here' }],
  [75, { answers: '404 {"error":"not_found"', why: stream }],
  [88, { answers: '200 [{"source":"ex.headers"', why: 'RabbitMQ fails here' }],
  [
    91,
    {
      answers: '400 {"error":"bad_request","reason":"Validation failed',
      why: 'Erlang breaks the line',
    },
  ],
  [95, { answers: '400 {"error":"bad_request","reason":"Validation failed', why: four }],
  [105, { answers: missing, why: 'there is no federation' }],
  [106, { answers: missing, why: 'there are no shovels' }],
  [107, { answers: missing, why: 'there are no components with parameters' }],
  [108, { answers: missing, why: 'there are no shovels' }],
  [109, { answers: missing, why: notYet }],
  [110, { answers: missing, why: notYet }],
  [111, { answers: missing, why: notYet }],
  [112, { answers: missing, why: 'there is no federation' }],
  [113, { answers: missing, why: notYet }],
  [
    118,
    { answers: '400 {"error":"bad_request","reason":"unsupported_encoding: rot13"', why: text },
  ],
  [127, { answers: '400 {"error":"bad_request","reason":"unknown ackmode: nope"', why: four }],
  [129, { answers: '200 [', why: 'what clients sent before 3.7 is still understood' }],
  [132, { answers: '404 {"error":"not_found"', why: stream }],
  [133, { answers: '204 ', why: overAmqp }],
  [134, { answers: missing, why: overAmqp }],
  [143, { answers: '400 {"error":"bad_request","reason":"unknown: nope"', why: text }],
  [145, { answers: '405 ', why: notYet }],
  [155, { answers: missing, why: four }],
  [158, { answers: missing, why: four }],
  [160, { answers: '404 {"error":"not_found"', why: overAmqp }],
  [161, { answers: missing, why: overAmqp }],
  [174, { answers: '503 {"status":"failed","reason":"No active listener"', why: ports }],
  [175, { answers: '503 {"status":"failed","reason":"No active listener"', why: ports }],
  [179, { answers: '503 {"status":"failed","reason":"No active listener"', why: four }],
  [187, { answers: missing, why: notYet }],
  [191, { answers: missing, why: notYet }],
  [195, { answers: '400 {"error":"page_out_of_range"', why: 'another number of queues' }],
  [205, { answers: '400 {"error":"bad_request","reason":"no_such_user: both"', why: text }],
])
