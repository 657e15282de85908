"""SQS, over the JSON protocol that botocore speaks and over the query protocol that older SDKs do."""

import hashlib
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from common import ACCOUNT, ENDPOINT, REGION, EmulatorTest, aws, client, name


class Sqs(EmulatorTest):
    def setUp(self):
        self.sqs = client("sqs")
        self.url = self.sqs.create_queue(QueueName=name("q"), tags={"a": "b"})["QueueUrl"]

    def test_a_message_with_attributes_goes_through(self):
        attributes = {
            "text": {"DataType": "String", "StringValue": "value"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "number": {"DataType": "Number.int", "StringValue": "7"},
        }
        trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}
        # botocore itself compares the digest of the body with its own.
        sent = self.sqs.send_message(
            QueueUrl=self.url, MessageBody="body é", MessageAttributes=attributes, MessageSystemAttributes=trace
        )
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5("body é".encode()).hexdigest())
        received = self.sqs.receive_message(
            QueueUrl=self.url, WaitTimeSeconds=5, AttributeNames=["All"], MessageAttributeNames=["All"]
        )
        [message] = received["Messages"]
        self.assertEqual(message["MessageId"], sent["MessageId"])
        self.assertEqual(message["Body"], "body é")
        self.assertEqual(message["MessageAttributes"], attributes)
        self.assertEqual(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(message["Attributes"]["AWSTraceHeader"], "Root=1")
        self.assertEqual(message["Attributes"]["ApproximateReceiveCount"], "1")
        handle = message["ReceiptHandle"]
        self.sqs.change_message_visibility(QueueUrl=self.url, ReceiptHandle=handle, VisibilityTimeout=60)
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=handle)
        self.assertEqual(self.counts(), ("0", "0"))

    def counts(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return tuple(found[one] for one in names)

    def test_a_batch_says_what_failed(self):
        entries = [{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": "\x01"}]
        sent = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        self.assertEqual([one["Id"] for one in sent["Successful"]], ["good"])
        [failed] = sent["Failed"]
        self.assertEqual((failed["Id"], failed["SenderFault"]), ("bad", True))
        self.assertEqual(failed["Code"], "InvalidMessageContents")

    def test_errors_are_typed(self):
        missing = f"{ENDPOINT}/{ACCOUNT}/{name('none')}"
        code = "AWS.SimpleQueueService.NonExistentQueue"
        with self.assertRaises(self.sqs.exceptions.QueueDoesNotExist) as caught:
            self.sqs.send_message(QueueUrl=missing, MessageBody="x")
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        with self.assertRaises(self.sqs.exceptions.ReceiptHandleIsInvalid):
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle="garbage")
        with self.assertRaises(self.sqs.exceptions.EmptyBatchRequest):
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=[])
        twice = [{"Id": "a", "MessageBody": "x"}] * 2
        with self.assertRaises(self.sqs.exceptions.BatchEntryIdsNotDistinct):
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=twice)
        self.refused("InvalidParameterValue", 400, self.sqs.receive_message, QueueUrl=self.url, WaitTimeSeconds=21)
        self.refused("InvalidAttributeName", 400, self.sqs.get_queue_attributes, QueueUrl=self.url, AttributeNames=["No"])

    def test_administration_of_queues(self):
        queue = name("q")
        url = self.sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "5"})["QueueUrl"]
        self.assertEqual(self.sqs.get_queue_url(QueueName=queue)["QueueUrl"], url)
        self.assertIn(url, self.sqs.list_queues(QueueNamePrefix=queue)["QueueUrls"])
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual((found["VisibilityTimeout"], found["DelaySeconds"]), ("7", "5"))
        self.sqs.tag_queue(QueueUrl=url, Tags={"k": "v"})
        self.assertEqual(self.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"k": "v"})
        self.sqs.untag_queue(QueueUrl=url, TagKeys=["k"])
        self.assertNotIn("Tags", self.sqs.list_queue_tags(QueueUrl=url))
        self.sqs.purge_queue(QueueUrl=url)
        self.sqs.delete_queue(QueueUrl=url)

    def test_dead_letters_are_moved_back(self):
        attributes = lambda url: self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        dead = self.sqs.create_queue(QueueName=name("dead"))["QueueUrl"]
        arn = attributes(dead)["QueueArn"]
        policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":1}}'
        attributes_of_work = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
        work = self.sqs.create_queue(QueueName=name("work"), Attributes=attributes_of_work)["QueueUrl"]
        self.assertEqual(self.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [work])
        self.sqs.send_message(QueueUrl=work, MessageBody="x")
        for _ in range(2):
            self.sqs.receive_message(QueueUrl=work)
        handle = self.sqs.start_message_move_task(SourceArn=arn)["TaskHandle"]
        self.assertTrue(handle)
        done = lambda: [
            task
            for task in self.sqs.list_message_move_tasks(SourceArn=arn)["Results"]
            if task["Status"] == "COMPLETED"
        ]
        [task] = self.eventually(done, "the move task completes")
        self.assertEqual(task["ApproximateNumberOfMessagesMoved"], 1)

    def test_the_query_protocol_answers_in_xml(self):
        fields = {"Action": "SendMessage", "Version": "2012-11-05", "QueueUrl": self.url, "MessageBody": "<&>"}
        status, sent = query(fields)
        self.assertEqual(status, 200)
        digest = sent.findtext(".//{*}MD5OfMessageBody")
        self.assertEqual(digest, hashlib.md5(b"<&>").hexdigest())
        status, received = query({"Action": "ReceiveMessage", "Version": "2012-11-05", "QueueUrl": self.url})
        self.assertEqual((status, received.findtext(".//{*}Body")), (200, "<&>"))
        bad = {"Action": "DeleteMessage", "Version": "2012-11-05", "QueueUrl": self.url, "ReceiptHandle": "x"}
        status, error = query(bad)
        self.assertEqual((status, error.findtext(".//{*}Code")), (404, "ReceiptHandleIsInvalid"))

    def test_the_command_line_sends_and_receives(self):
        sent = aws("sqs", "send-message", "--queue-url", self.url, "--message-body", "cli")
        received = aws("sqs", "receive-message", "--queue-url", self.url, "--wait-time-seconds", "2")
        self.assertEqual(received["Messages"][0]["MessageId"], sent["MessageId"])


def query(fields):
    """A signed call of the query protocol: the status and the XML."""
    body = urllib.parse.urlencode(fields)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest(method="POST", url=f"{ENDPOINT}/", data=body, headers=headers)
    SigV4Auth(Credentials("AKIDTEST", "secret"), "sqs", REGION).add_auth(request)
    call = urllib.request.Request(request.url, data=body.encode(), headers=dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(call) as answer:
            return answer.status, ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, ElementTree.fromstring(error.read())
