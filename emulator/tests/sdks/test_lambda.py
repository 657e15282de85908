"""Lambda: create, invoke, update, delete, and what its log says."""

import base64
import json

from common import EmulatorTest, aws, client, name, package, role


class Lambda(EmulatorTest):
    @classmethod
    def setUpClass(cls):
        cls.functions = client("lambda")
        cls.function = name("f")
        cls.functions.create_function(
            FunctionName=cls.function,
            Role=role(),
            Runtime="provided.al2023",
            Handler="bootstrap",
            Code={"ZipFile": package()},
            Environment={"Variables": {"AB": "c"}},
            Timeout=10,
            Tags={"k": "v"},
        )
        cls.functions.get_waiter("function_active_v2").wait(FunctionName=cls.function)

    @classmethod
    def tearDownClass(cls):
        cls.functions.delete_function(FunctionName=cls.function)

    def invoke(self, event, **more):
        return self.functions.invoke(FunctionName=self.function, Payload=json.dumps(event), **more)

    def test_an_invocation_answers_with_its_log(self):
        answer = self.invoke({"a": 1}, LogType="Tail")
        self.assertEqual((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"))
        self.assertEqual(json.load(answer["Payload"]), {"echo": {"a": 1}, "name": self.function})
        self.assertIn("saw", base64.b64decode(answer["LogResult"]).decode())

    def test_the_three_kinds_of_invocation_and_an_error(self):
        self.assertEqual(self.invoke({}, InvocationType="DryRun")["StatusCode"], 204)
        self.assertEqual(self.invoke({}, InvocationType="Event")["StatusCode"], 202)
        failed = self.invoke({"fail": True})
        self.assertEqual((failed["StatusCode"], failed["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(json.load(failed["Payload"])["errorType"], "Asked.For")
        self.refused("ResourceNotFoundException", 404, self.functions.invoke, FunctionName=name("none"))
        self.refused("InvalidRequestContentException", 400, self.functions.invoke, FunctionName=self.function, Payload="{")

    def test_configuration_and_code_are_updated(self):
        updated = self.functions.update_function_configuration(FunctionName=self.function, MemorySize=256)
        self.assertEqual(updated["MemorySize"], 256)
        self.functions.get_waiter("function_updated_v2").wait(FunctionName=self.function)
        self.functions.update_function_code(FunctionName=self.function, ZipFile=package())
        self.functions.get_waiter("function_updated_v2").wait(FunctionName=self.function)
        found = self.functions.get_function(FunctionName=self.function)
        self.assertEqual(found["Configuration"]["Environment"], {"Variables": {"AB": "c"}})
        self.assertEqual(found["Tags"], {"k": "v"})

    def test_versions_aliases_and_concurrency(self):
        version = self.functions.publish_version(FunctionName=self.function)["Version"]
        self.functions.create_alias(FunctionName=self.function, Name="live", FunctionVersion=version)
        self.assertEqual(self.functions.get_alias(FunctionName=self.function, Name="live")["FunctionVersion"], version)
        self.functions.put_function_concurrency(FunctionName=self.function, ReservedConcurrentExecutions=0)
        throttled = self.refused("TooManyRequestsException", 429, self.functions.invoke, FunctionName=self.function)
        self.assertEqual(throttled["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
        self.functions.delete_function_concurrency(FunctionName=self.function)

    def test_how_events_are_retried_is_listed_until_it_is_deleted(self):
        self.functions.put_function_event_invoke_config(FunctionName=self.function, MaximumRetryAttempts=1)
        listed = self.functions.list_function_event_invoke_configs(FunctionName=self.function)
        retries = [one["MaximumRetryAttempts"] for one in listed["FunctionEventInvokeConfigs"]]
        self.assertEqual(retries, [1])
        self.functions.delete_function_event_invoke_config(FunctionName=self.function, Qualifier="$LATEST")
        get = self.functions.get_function_event_invoke_config
        self.refused("ResourceNotFoundException", 404, get, FunctionName=self.function)

    def test_a_mapping_consumes_a_queue(self):
        sqs = client("sqs")
        url = sqs.create_queue(QueueName=name("mapped"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        mapping = self.functions.create_event_source_mapping(
            EventSourceArn=arn, FunctionName=self.function, BatchSize=1
        )
        sqs.send_message(QueueUrl=url, MessageBody="mapped")
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        empty = lambda: all(
            count == "0"
            for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
        )
        self.eventually(empty, "the function consumes the message")
        state = lambda: self.functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled"
        self.eventually(state, "the mapping is enabled")
        self.functions.delete_event_source_mapping(UUID=mapping["UUID"])

    def test_the_log_is_read_by_the_ordinary_api(self):
        self.invoke({"marker": "in the log"})
        logs = client("logs")
        group = f"/aws/lambda/{self.function}"
        events = lambda: logs.filter_log_events(logGroupName=group, filterPattern='"in the log"')["events"]
        self.assertTrue(self.eventually(events, "the line is in the log")[0]["timestamp"] > 0)
        self.assertTrue(logs.describe_log_streams(logGroupName=group)["logStreams"])

    def test_the_command_line_lists_functions(self):
        listed = aws("lambda", "list-functions")["Functions"]
        self.assertIn(self.function, [one["FunctionName"] for one in listed])
