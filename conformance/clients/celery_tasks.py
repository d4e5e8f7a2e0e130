"""The tasks that celery_session.py sends, and the application they belong to, as Celery's users write them."""

import itertools
import os
import time

from celery import Celery
from kombu import Queue

name = os.environ['CELERY_NAME']
app = Celery(name, broker=os.environ['CELERY_BROKER'], backend='rpc://')
app.conf.update(
    task_default_queue=name,
    task_queues=[
        Queue(name, queue_arguments={'x-max-priority': 10}),
        Queue(f'{name}.late'),
    ],
    task_queue_max_priority=10,
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    task_send_sent_event=True,
    broker_connection_retry_on_startup=False,
    control_exchange=f'{name}.control',
    event_exchange=f'{name}.events',
    event_queue_prefix=f'{name}.events',
)
turns = itertools.count()


@app.task
def add(a, b):
    return a + b


@app.task
def turn():
    """The how manieth run of this task this is, for as long as one process runs them all."""
    return next(turns)


@app.task
def now():
    return time.time()


@app.task(bind=True, max_retries=3, default_retry_delay=0.2)
def flaky(self):
    """Fails twice."""
    if self.request.retries < 2:
        raise self.retry(exc=RuntimeError('not yet'))
    return self.request.retries


@app.task(bind=True, max_retries=2, default_retry_delay=0.1)
def hopeless(self):
    try:
        raise RuntimeError(f'failed {self.request.retries} times before')
    except RuntimeError as error:
        raise self.retry(exc=error)
