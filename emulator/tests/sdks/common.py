"""One emulator, its clients, and the command line: what the tests share."""

import io
import json
import os
import subprocess
import sys
import time
import unittest
import uuid
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["EMULATOR_ENDPOINT"]
REGION = "us-east-1"
ACCOUNT = "123456789012"
# Nothing takes so long unless it is broken.
DEADLINE_SECONDS = 30
CREDENTIALS = {
    "aws_access_key_id": "AKIDTEST",
    "aws_secret_access_key": "secret",
    "region_name": REGION,
}

# A bootstrap for provided.al2023: answers every event with what it was given.
BOOTSTRAP = """#!{python}
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as event:
        request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
        body = json.loads(event.read())
    print("saw", json.dumps(body), flush=True)
    if body.get("fail"):
        answer, path = {{"errorType": "Asked.For", "errorMessage": "an error"}}, "/error"
    else:
        answer, path = {{"echo": body, "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"]}}, "/response"
    data = json.dumps(answer).encode()
    urllib.request.urlopen(urllib.request.Request(base + request_id + path, data=data, method="POST"))
"""


def client(service, **options):
    """A client that never tries again: an error is to be seen."""
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **options)
    return boto3.client(service, endpoint_url=ENDPOINT, config=config, **CREDENTIALS)


def name(prefix):
    """A name of its own for each test: they share one account."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def role():
    """A role that functions, experiments and schedules may take, and that may do everything."""
    iam = client("iam")
    service = {"Service": ["lambda.amazonaws.com", "fis.amazonaws.com", "scheduler.amazonaws.com"]}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": service}
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = lambda statement: json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=policy(trust))["Role"]
    iam.put_role_policy(RoleName=made["RoleName"], PolicyName="all", PolicyDocument=policy(allow))
    return made["Arn"]


def package():
    """A deployment package with the bootstrap."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP.format(python=sys.executable))
    return buffer.getvalue()


def aws(*arguments):
    """The AWS CLI: its answer, as it was parsed by its own models."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }
    program = str(Path(sys.executable).with_name("aws"))
    done = subprocess.run(
        [sys.executable, program, "--endpoint-url", ENDPOINT, *arguments, "--output", "json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS * 4,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"aws {' '.join(arguments)}: {done.returncode} {done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip() else None


class EmulatorTest(unittest.TestCase):
    """What tests of all services say."""

    def refused(self, code, status, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"], code)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status)
        return response

    def eventually(self, look, what):
        """Looks until something is found, within the deadline."""
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            found = look()
            if found:
                return found
            time.sleep(0.05)
        self.fail(f"{what}: not within {DEADLINE_SECONDS} s")
