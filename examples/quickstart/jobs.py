"""Handlers of two types of job. A handler that raises is tried again, with growing pauses, and ends in the dead list."""

from forebay import JobContext, RetryPolicy, job


@job("mail.send", retry=RetryPolicy(max_attempts=3, base=0.1))
async def send_mail(context: JobContext) -> None:
    print(f"mail to {context.args['to']}, attempt {context.attempt}", flush=True)


@job("report.make")  # not async: it runs in a thread
def make_report(context: JobContext) -> None:
    print(f"report of {context.raw.decode()}", flush=True)
