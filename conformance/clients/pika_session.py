"""What an application written with pika does with a broker: one scenario per run.

    pika_session.py URL QUEUE SCENARIO

Prints one JSON object that says what the client saw; pika.spec.ts judges it.
"""

import datetime
import decimal
import json
import sys
import time

import pika
from pika import exceptions

url, queue, scenario = sys.argv[1:]


def connect(**more):
    parameters = pika.URLParameters(url)
    for name, value in more.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


def say(word):
    print(word, file=sys.stderr, flush=True)


def properties():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    headers = {
        'text': 'ž',
        'yes': True,
        'no': False,
        'small': -5,
        'large': 2**40,
        'nothing': None,
        'when': datetime.datetime(2026, 1, 2, 3, 4, 5),
        'exact': decimal.Decimal('3.14'),
        'list': ['a', 1, {'deep': 'table'}],
    }
    sent = pika.BasicProperties(
        content_type='text/plain',
        content_encoding='utf-8',
        headers=headers,
        delivery_mode=2,
        priority=3,
        correlation_id='c-1',
        reply_to='r-1',
        expiration='60000',
        message_id='m-1',
        timestamp=1_700_000_000,
        type='kind',
        user_id='guest',
        app_id='leveret',
    )
    channel.confirm_delivery()
    channel.basic_publish('', queue, 'žluťoučký', sent)
    declared = channel.queue_declare(queue, passive=True)
    method, received, body = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    connection.close()
    return {
        'ready': declared.method.message_count,
        'body': body.decode(),
        'same': received == sent,
        'redelivered': method.redelivered,
        'closed': connection.is_closed,
    }


def bodies():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    same = []
    for size in (0, 1, 131063, 131064, 131065, 131072, 1_000_000):
        sent = b'leveret.' * (size // 8) + b'.' * (size % 8)
        channel.basic_publish('', queue, sent)
        _, _, received = channel.basic_get(queue, auto_ack=True)
        same.append(received == sent)
    connection.close()
    return {'same': same}


def returns():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    seen = {}
    try:
        sent = pika.BasicProperties(message_id='back')
        channel.basic_publish('amq.direct', queue, 'lost', sent, mandatory=True)
    except exceptions.UnroutableError as error:
        message = error.messages[0]
        seen['code'] = message.method.reply_code
        seen['text'] = message.method.reply_text
        seen['exchange'] = message.method.exchange
        seen['message_id'] = message.properties.message_id
        seen['body'] = message.body.decode()
    channel.basic_publish('amq.direct', queue, 'dropped without a word')
    limits = {'x-max-length': 1, 'x-overflow': 'reject-publish'}
    channel.queue_declare(queue, durable=True, arguments=limits)
    channel.basic_publish('', queue, 'fits')
    try:
        channel.basic_publish('', queue, 'does not')
    except exceptions.NackError:
        seen['nacked'] = True
    connection.close()
    return seen


def prefetch():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    for body in '12345':
        channel.basic_publish('', queue, body)
    channel.basic_qos(prefetch_count=2)
    received = []
    channel.basic_consume(queue, lambda _, method, __, body: received.append((method, body)))
    ready = []

    def wait(count):
        deadline = time.monotonic() + 10
        while len(received) < count and time.monotonic() < deadline:
            connection.process_data_events(time_limit=0.1)
        ready.append(channel.queue_declare(queue, passive=True).method.message_count)

    wait(2)
    channel.basic_ack(received[0][0].delivery_tag)
    wait(3)
    channel.basic_ack(received[2][0].delivery_tag, multiple=True)
    wait(5)
    channel.cancel()
    connection.close()
    return {'ready': ready, 'received': [body.decode() for _, body in received]}


def requeue():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    for body in ('again', 'drop', 'nack', 'last'):
        channel.basic_publish('', queue, body)
    channel.basic_qos(prefetch_count=1)
    seen = []
    for method, _, body in channel.consume(queue, inactivity_timeout=10):
        if method is None:
            break
        body = body.decode()
        seen.append([body, method.redelivered])
        if method.redelivered or body == 'last':
            channel.basic_ack(method.delivery_tag)
        else:
            again = body != 'drop'
            if body == 'nack':
                channel.basic_nack(method.delivery_tag, requeue=again)
            else:
                channel.basic_reject(method.delivery_tag, requeue=again)
        if body == 'last':
            break
    pending = channel.cancel()
    ready = channel.queue_declare(queue, passive=True).method.message_count
    connection.close()
    return {'seen': seen, 'pending': pending, 'ready': ready}


def cancelled():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    tags = []
    channel.add_on_cancel_callback(lambda frame: tags.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    deadline = time.monotonic() + 10
    while not tags and time.monotonic() < deadline:
        connection.process_data_events(time_limit=0.1)
    connection.close()
    return {'told': tags == [tag]}


def transaction():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.tx_select()
    counts = []

    def count():
        counts.append(channel.queue_declare(queue, passive=True).method.message_count)

    channel.basic_publish('', queue, 'no')
    channel.tx_rollback()
    channel.basic_publish('', queue, 'yes')
    count()
    channel.tx_commit()
    count()
    connection.close()
    return {'counts': counts}


def refusals():
    connection = connect()
    seen = []

    def attempt(work):
        channel = connection.channel()
        try:
            work(channel)
        except exceptions.ChannelClosedByBroker as error:
            seen.append([error.reply_code, error.reply_text])

    attempt(lambda channel: channel.queue_declare(queue, passive=True))
    attempt(lambda channel: channel.exchange_declare('amq.direct', 'topic'))
    attempt(lambda channel: channel.queue_bind(queue, 'amq.direct', 'key'))
    open_still = connection.is_open
    connection.close()
    try:
        connect(credentials=pika.PlainCredentials('guest', 'wrong'))
    except exceptions.AMQPConnectionError as error:
        seen.append(type(error).__name__)
    try:
        connect(virtual_host='/' + queue)
    except exceptions.AMQPConnectionError as error:
        seen.append(type(error).__name__)
    return {'seen': seen, 'open': open_still}


def heartbeat():
    connection = connect(heartbeat=1)
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    connection.sleep(4)
    ready = channel.queue_declare(queue, passive=True).method.message_count
    connection.close()
    return {'ready': ready}


def silence():
    connection = connect(heartbeat=1)
    connection.channel()
    time.sleep(6)
    try:
        connection.process_data_events(time_limit=1)
        return {'cut': False}
    except exceptions.AMQPConnectionError:
        return {'cut': True}


def reconnect():
    seen = []
    attempts = 0
    while True:
        attempts += 1
        connection = connect(connection_attempts=20, retry_delay=0.1)
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        if attempts == 1:
            channel.basic_publish('', queue, 'first')
        else:
            channel.basic_publish('', queue, 'after')
        try:
            for method, _, body in channel.consume(queue, inactivity_timeout=10):
                if method is None:
                    raise RuntimeError('neither a message nor the end of the connection')
                seen.append([body.decode(), method.redelivered])
                if attempts == 1:
                    say('holding')
                    continue
                channel.basic_ack(method.delivery_tag)
                if body == b'after':
                    channel.cancel()
                    connection.close()
                    return {'seen': seen, 'attempts': attempts}
        except exceptions.AMQPConnectionError:
            continue


def asynchronous():
    seen = {'confirms': [], 'bodies': []}

    def opened(connection):
        connection.channel(on_open_callback=channel_opened)

    def channel_opened(channel):
        def confirmed(frame):
            method = frame.method
            seen['confirms'].append([type(method).__name__, method.delivery_tag, method.multiple])

        def consumed(_, method, __, body):
            seen['bodies'].append(body.decode())
            channel.basic_ack(method.delivery_tag)
            if len(seen['bodies']) == 20:
                channel.connection.close()

        def selected(_):
            for number in range(20):
                channel.basic_publish('', queue, str(number))
            channel.basic_consume(queue, consumed)

        def declared(_):
            channel.confirm_delivery(confirmed, callback=selected)

        channel.queue_declare(queue, durable=True, callback=declared)

    def closed(connection, reason):
        seen['reason'] = [type(reason).__name__, reason.reply_code]
        connection.ioloop.stop()

    connection = pika.SelectConnection(
        pika.URLParameters(url), on_open_callback=opened, on_close_callback=closed
    )
    connection.ioloop.start()
    last = max(tag for _, tag, _ in seen['confirms'])
    kinds = sorted({kind for kind, _, _ in seen['confirms']})
    return {'last': last, 'kinds': kinds, 'bodies': seen['bodies'], 'reason': seen['reason']}


scenarios = {
    function.__name__: function
    for function in (
        properties,
        bodies,
        returns,
        prefetch,
        requeue,
        cancelled,
        transaction,
        refusals,
        heartbeat,
        silence,
        reconnect,
        asynchronous,
    )
}
print(json.dumps(scenarios[scenario]()))
