"""One worker and what an application sees that sends it tasks: one scenario per run.

    celery_session.py URL NAME SCENARIO

Prints one JSON object; celery.spec.ts judges it. NAME begins the names of all that is declared.
"""

import json
import os
import subprocess
import sys
import threading
import time

url, name, scenario = sys.argv[1:]
os.environ.update(CELERY_BROKER=url, CELERY_NAME=name)
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)

from celery import group  # noqa: E402
from celery_tasks import add, app, flaky, hopeless, now, turn  # noqa: E402

PATIENCE = 60
seen = {}
workers = []


def failure(result):
    try:
        return result.get(timeout=PATIENCE)
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def until(awaited, question):
    """The first answer that is not empty."""
    deadline = time.time() + PATIENCE
    while time.time() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    raise TimeoutError(awaited)


def asked(question):
    """The one worker's answer."""
    answer = until('the worker', lambda: question(app.control.inspect(timeout=2, limit=1)))
    return list(answer.values())[0]


def tasks():
    # What waits for the worker is taken by priority.
    priorities = [1, 5, 9, 3, 5]
    waiting = [turn.apply_async(priority=priority) for priority in priorities]
    worker = start()
    order = [result.get(timeout=PATIENCE) for result in waiting]
    seen['order'] = [priorities[order.index(n)] for n in range(len(order))]

    events = []
    receivers = []

    def watch():
        handlers = {'*': lambda event: events.append(event['type'])}
        with app.connection_for_read() as connection:
            receivers.append(app.events.Receiver(connection, handlers=handlers))
            receivers[0].capture(limit=None, timeout=None, wakeup=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    until('an event', lambda: 'worker-heartbeat' in events)

    seen['sum'] = add.delay(2, 3).get(timeout=PATIENCE)
    seen['group'] = group(add.s(n, n) for n in range(20))().get(timeout=PATIENCE)
    seen['chain'] = (add.s(1, 2) | add.s(3) | add.s(4))().get(timeout=PATIENCE)
    seen['retries'] = flaky.delay().get(timeout=PATIENCE)
    seen['hopeless'] = failure(hopeless.delay())
    due = time.time() + 1
    seen['early'] = now.apply_async(countdown=1).get(timeout=PATIENCE) < due

    seen['ping'] = asked(lambda inspect: inspect.ping())
    seen['queues'] = len(asked(lambda inspect: inspect.active_queues()))
    revoked = add.apply_async((1, 1), countdown=1)
    app.control.revoke(revoked.id)
    seen['revoked'] = failure(revoked)
    app.control.add_consumer(f'{name}.late')
    seen['late queue'] = add.apply_async((4, 4), queue=f'{name}.late').get(timeout=PATIENCE)

    app.control.shutdown()
    seen['exit'] = worker.wait(timeout=PATIENCE)
    until('the last event', lambda: 'worker-offline' in events)
    receivers[0].should_stop = True
    watcher.join(PATIENCE)
    seen['events'] = sorted(set(events) - {'worker-heartbeat', 'worker-online'})


def later():
    """Tasks for later stay with the worker, more of them than its prefetch.

    It raises the limit of its channel for each one, and unless that reaches the running consumer
    nothing else is done meanwhile. Its prefetch of one is the narrowest case.
    """
    start()
    add.delay(1, 1).get(timeout=PATIENCE)
    sent = time.time()
    waiting = [now.apply_async(countdown=15) for _ in range(2)]
    add.delay(1, 1).get(timeout=PATIENCE)
    seen['meanwhile'] = not any(result.ready() for result in waiting)
    seen['early'] = [result.get(timeout=PATIENCE) < sent + 15 for result in waiting]


def start():
    command = [sys.executable, '-m', 'celery', '-A', 'celery_tasks', 'worker', '-E', '-l', 'WARNING']
    command += ['--concurrency', '1', '--queues', name, '--hostname', f'{name}@here']
    worker = subprocess.Popen(command, cwd=here, stdout=sys.stderr, stderr=sys.stderr)
    workers.append(worker)
    return worker


try:
    {'tasks': tasks, 'later': later}[scenario]()
finally:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in (name, f'{name}.late'):
            channel.queue_delete(queue)
            channel.exchange_delete(queue)
        control = f'{name}.control.pidbox'
        for exchange in (control, f'reply.{control}', f'{name}.events'):
            channel.exchange_delete(exchange)
print(json.dumps(seen))
