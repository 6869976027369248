"""Whether Redis takes what the dialer writes; an answer to a read says nothing of that."""

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from campaigns.problem import Problem, ProblemCode

_KEPT_SECONDS = 60


def probe(redis: Redis, prefix: str, process: str) -> Problem | None:
    """Write a key of this process's own, and say what Redis has against it; None if it takes it."""
    try:
        redis.set(f"{prefix}probe:{process}", 1, ex=_KEPT_SECONDS)
    except RedisError as error:
        return redis_problem(error)
    return None


def redis_problem(error: RedisError) -> Problem:
    """What an error of Redis means, by the code of its answer. Its text stays out: it may name a user."""
    # redis-py takes the code off the answers that it knows, and leaves it to the others.
    answer = str(error).partition(" ")[0] if isinstance(error, ResponseError) else ""
    match error:
        case OutOfMemoryError():
            return Problem(
                "Redis is full (OOM) and takes no tasks; raise maxmemory, or give the dialer one of its own",
                ProblemCode.REDIS_FULL,
            )
        case ReadOnlyError():
            return Problem(
                "Redis is a read-only replica (READONLY); set DIALER_REDIS_URL to its primary",
                ProblemCode.REDIS_READ_ONLY,
            )
        case NoPermissionError() | AuthenticationError():
            return Problem(
                "Redis does not permit this user to write the dialer's keys; check its ACL and password",
                ProblemCode.REDIS_NOT_PERMITTED,
            )
        case ResponseError() if answer == "MISCONF":
            return Problem(
                "Redis cannot save to its disk (MISCONF) and takes no tasks; make room on its disk",
                ProblemCode.REDIS_NOT_SAVING,
            )
        case ResponseError():
            return Problem(
                f"Redis refuses what the dialer writes ({answer or 'ERR'})", ProblemCode.REDIS_REFUSES
            )
    return Problem(
        f"Redis does not answer, and nothing is dialed without it ({type(error).__name__})",
        ProblemCode.REDIS_AWAY,
    )
