"""CloudWatch and its logs, FIS."""

import datetime
import json

from common import EmulatorTest, aws, client, name, role


class CloudWatch(EmulatorTest):
    def setUp(self):
        self.metrics = client("cloudwatch")

    def test_metrics_are_put_and_read(self):
        namespace = name("N")
        now = datetime.datetime.now(datetime.timezone.utc)
        dimensions = [{"Name": "d", "Value": "v"}]
        data = {"MetricName": "m", "Dimensions": dimensions, "Value": 3.0, "Unit": "Count", "Timestamp": now}
        self.metrics.put_metric_data(Namespace=namespace, MetricData=[data])
        [listed] = self.metrics.list_metrics(Namespace=namespace)["Metrics"]
        self.assertEqual((listed["MetricName"], listed["Dimensions"]), ("m", dimensions))
        window = {"StartTime": now - datetime.timedelta(minutes=5), "EndTime": now + datetime.timedelta(minutes=5)}
        metric = {"Namespace": namespace, "MetricName": "m", "Dimensions": dimensions}
        points = client("cloudwatch").get_metric_statistics(Period=60, Statistics=["Sum"], **metric, **window)["Datapoints"]
        self.assertEqual([point["Sum"] for point in points], [3.0])
        query = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
        found = self.metrics.get_metric_data(MetricDataQueries=[query], **window)["MetricDataResults"]
        self.assertEqual((found[0]["Values"], found[0]["StatusCode"]), ([3.0], "Complete"))

    def test_metric_math_is_read_and_watched(self):
        namespace, alarm = name("N"), name("alarm")
        now = datetime.datetime.now(datetime.timezone.utc)
        data = [{"MetricName": "errors", "Value": 3.0}, {"MetricName": "requests", "Value": 12.0}]
        self.metrics.put_metric_data(Namespace=namespace, MetricData=[{**datum, "Timestamp": now} for datum in data])
        rate = {"Id": "rate", "Expression": "100 * errors / requests", "Label": "error rate"}
        parts = [
            {
                "Id": metric,
                "MetricStat": {"Metric": {"Namespace": namespace, "MetricName": metric}, "Period": 60, "Stat": "Sum"},
                "ReturnData": False,
            }
            for metric in ("errors", "requests")
        ]
        window = {"StartTime": now - datetime.timedelta(minutes=5), "EndTime": now + datetime.timedelta(minutes=5)}
        [found] = self.metrics.get_metric_data(MetricDataQueries=[rate, *parts], **window)["MetricDataResults"]
        self.assertEqual((found["Id"], found["Label"], found["Values"]), ("rate", "error rate", [25.0]))
        self.metrics.put_metric_alarm(
            AlarmName=alarm,
            Metrics=[rate, *parts],
            EvaluationPeriods=1,
            Threshold=10.0,
            ComparisonOperator="GreaterThanThreshold",
        )
        [shown] = self.metrics.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        self.assertEqual(shown["Metrics"][0], {**rate, "ReturnData": True})
        self.assertEqual(shown["Metrics"][1]["MetricStat"]["Period"], 60)
        with self.assertRaisesRegex(self.metrics.exceptions.ClientError, "Error in expression 'rate': Invalid syntax"):
            wrong = {**rate, "Expression": "errors /"}
            self.metrics.get_metric_data(MetricDataQueries=[wrong, *parts], **window)

    def test_an_alarm_has_its_life(self):
        alarm = name("alarm")
        self.metrics.put_metric_alarm(
            AlarmName=alarm,
            Namespace="N",
            MetricName="m",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
        [found] = self.metrics.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        self.assertEqual((found["Threshold"], found["TreatMissingData"]), (1.0, "notBreaching"))
        self.metrics.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
        shown = aws("cloudwatch", "describe-alarms", "--alarm-names", alarm)
        self.assertEqual(shown["MetricAlarms"][0]["AlarmName"], alarm)
        self.metrics.delete_alarms(AlarmNames=[alarm])
        self.assertEqual(self.metrics.describe_alarms(AlarmNames=[alarm])["MetricAlarms"], [])

    def test_a_composite_alarm_follows_its_children(self):
        child, parent = name("child"), name("parent")
        comparison = {"Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1}
        self.metrics.put_metric_alarm(
            AlarmName=child, Namespace="N", MetricName="m", Statistic="Sum", Period=60, **comparison
        )
        rule = f'ALARM("{child}") OR\nFALSE'
        self.metrics.put_composite_alarm(AlarmName=parent, AlarmRule=rule)
        self.metrics.set_alarm_state(AlarmName=child, StateValue="ALARM", StateReason="test")
        composite = {"AlarmNames": [parent], "AlarmTypes": ["CompositeAlarm"]}
        [shown] = self.metrics.describe_alarms(**composite)["CompositeAlarms"]
        self.assertEqual((shown["AlarmRule"], shown["StateValue"]), (rule, "ALARM"))
        [relative] = self.metrics.describe_alarms(ChildrenOfAlarmName=parent)["MetricAlarms"]
        self.assertEqual((relative["AlarmName"], relative["StateValue"]), (child, "ALARM"))
        found = aws("cloudwatch", "describe-alarms", "--alarm-types", "CompositeAlarm", "--alarm-names", parent)
        self.assertIn(child, found["CompositeAlarms"][0]["StateReason"])
        with self.assertRaisesRegex(self.metrics.exceptions.ClientError, "depending on it"):
            self.metrics.delete_alarms(AlarmNames=[child])
        self.metrics.delete_alarms(AlarmNames=[parent])
        self.metrics.delete_alarms(AlarmNames=[child])


class Logs(EmulatorTest):
    def test_a_group_holds_events_in_streams(self):
        logs = client("logs")
        group = name("/group")
        logs.create_log_group(logGroupName=group, tags={"k": "v"})
        logs.put_retention_policy(logGroupName=group, retentionInDays=7)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        now_ms = int(datetime.datetime.now(datetime.timezone.utc).timestamp() * 1000)
        events = [{"timestamp": now_ms, "message": "one"}, {"timestamp": now_ms + 1, "message": "two"}]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
        found = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]
        self.assertEqual([event["message"] for event in found], ["one", "two"])
        [shown] = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        self.assertEqual(shown["retentionInDays"], 7)
        self.assertEqual(logs.list_tags_for_resource(resourceArn=shown["arn"].removesuffix(":*"))["tags"], {"k": "v"})
        refused = {"logGroupName": name("/none"), "logStreamName": "s"}
        self.refused("ResourceNotFoundException", 400, logs.get_log_events, **refused)
        listed = aws("logs", "describe-log-groups", "--log-group-name-prefix", group)
        self.assertEqual(listed["logGroups"][0]["logGroupName"], group)
        logs.delete_log_group(logGroupName=group)

    def test_a_metric_filter_makes_metrics_of_lines(self):
        logs, group, namespace = client("logs"), name("/group"), name("N")
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        transformation = {"metricNamespace": namespace, "metricName": "m", "metricValue": "$.n", "unit": "Count"}
        wanted = {"filterName": "f", "filterPattern": '{ $.level = "ERR*" && $.n > 1 }'}
        logs.put_metric_filter(logGroupName=group, metricTransformations=[transformation], **wanted)
        [shown] = logs.describe_metric_filters(logGroupName=group, filterNamePrefix="f")["metricFilters"]
        self.assertEqual(shown["metricTransformations"], [transformation])
        now = datetime.datetime.now(datetime.timezone.utc)
        lines = [json.dumps({"level": level, "n": n}) for level, n in [("ERROR", 5), ("ERROR", 1), ("INFO", 9)]]
        events = [{"timestamp": int(now.timestamp() * 1000), "message": line} for line in lines]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
        window = {"StartTime": now - datetime.timedelta(minutes=5), "EndTime": now + datetime.timedelta(minutes=5)}
        metric = {"Namespace": namespace, "MetricName": "m", "Period": 60, "Statistics": ["Sum"]}
        points = client("cloudwatch").get_metric_statistics(**metric, **window)["Datapoints"]
        self.assertEqual([(point["Sum"], point["Unit"]) for point in points], [(5.0, "Count")])
        tried = logs.test_metric_filter(filterPattern="[kind, n > 1]", logEventMessages=["a 2", "b 1"])["matches"]
        self.assertEqual([match["extractedValues"] for match in tried], [{"$kind": "a", "$n": "2"}])
        wrong = {**wanted, "filterPattern": "{ $.n = }"}
        with self.assertRaisesRegex(logs.exceptions.InvalidParameterException, "Invalid metric filter pattern"):
            logs.put_metric_filter(logGroupName=group, metricTransformations=[transformation], **wrong)
        logs.delete_metric_filter(logGroupName=group, filterName="f")
        self.assertEqual(logs.describe_metric_filters(logGroupName=group)["metricFilters"], [])
        logs.delete_log_group(logGroupName=group)


class Fis(EmulatorTest):
    def setUp(self):
        self.fis = client("fis")

    def template(self, actions, targets=None):
        return self.fis.create_experiment_template(
            clientToken=name("token"),
            description="d",
            roleArn=role(),
            stopConditions=[{"source": "none"}],
            targets=targets or {},
            actions=actions,
        )["experimentTemplate"]

    def test_an_experiment_runs_to_its_end(self):
        wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}
        template = self.template({"w": wait})
        experiment = self.fis.start_experiment(experimentTemplateId=template["id"])["experiment"]
        status = lambda: self.fis.get_experiment(id=experiment["id"])["experiment"]["state"]["status"]
        self.eventually(lambda: status() == "running", "the experiment runs")
        shown = aws("fis", "get-experiment", "--id", experiment["id"])
        self.assertEqual(shown["experiment"]["id"], experiment["id"])
        self.fis.stop_experiment(id=experiment["id"])
        self.eventually(lambda: status() == "stopped", "the experiment stops")
        self.fis.delete_experiment_template(id=template["id"])

    def test_what_aws_rejects_is_rejected(self):
        parameters = {"service": "sqs", "operations": "SendMessage", "percentage": "100", "duration": "PT1M"}
        action = {
            "actionId": "aws:fis:inject-api-throttle-error",
            "parameters": parameters,
            "targets": {"Roles": "roles"},
        }
        roles = {
            "roles": {
                "resourceType": "aws:iam:role",
                "resourceArns": ["arn:aws:iam::123456789012:role/any"],
                "selectionMode": "ALL",
            }
        }
        with self.assertRaises(self.fis.exceptions.ValidationException):
            self.template({"a": action}, roles)
        with self.assertRaises(self.fis.exceptions.ResourceNotFoundException):
            self.template({"a": {"actionId": "aws:fis:none", "parameters": {}}})
        with self.assertRaises(self.fis.exceptions.ResourceNotFoundException):
            self.fis.get_experiment_template(id="EXT000000000")
        self.assertTrue(json.dumps(self.fis.list_actions()["actions"]))
