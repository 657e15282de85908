"""EventBridge Scheduler: schedules and their groups."""

import datetime

from common import ACCOUNT, REGION, EmulatorTest, aws, client, name, role

# Nothing here is due while the tests run.
START = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)


class Scheduler(EmulatorTest):
    def setUp(self):
        self.scheduler = client("scheduler")
        self.group = name("group")
        self.scheduler.create_schedule_group(Name=self.group, Tags=[{"Key": "k", "Value": "v"}])
        self.target = {
            "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
            "RoleArn": role(),
            "Input": "{}",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 2},
        }

    def settings(self, **more):
        always = {"FlexibleTimeWindow": {"Mode": "OFF"}, "Target": self.target}
        return {"Name": "s", "GroupName": self.group, "ScheduleExpression": "rate(1 hour)", **always, **more}

    def test_a_schedule_is_made_replaced_listed_and_deleted(self):
        schedule = {"Name": "s", "GroupName": self.group}
        arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{self.group}/s"
        made = self.scheduler.create_schedule(**self.settings(StartDate=START, Description="d"))
        self.assertEqual(made["ScheduleArn"], arn)
        found = self.scheduler.get_schedule(**schedule)
        self.assertEqual((found["Arn"], found["StartDate"], found["Description"]), (arn, START, "d"))
        self.assertEqual((found["State"], found["ScheduleExpressionTimezone"]), ("ENABLED", "UTC"))
        self.assertEqual(found["Target"], self.target)
        window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}
        replaced = {"ScheduleExpression": "cron(0 12 1 1 ? 2099)", "FlexibleTimeWindow": window, "State": "DISABLED"}
        self.scheduler.update_schedule(**self.settings(**replaced))
        found = self.scheduler.get_schedule(**schedule)
        self.assertEqual({key: found[key] for key in replaced}, replaced)
        # What an update does not say is no longer so.
        self.assertNotIn("Description", found)
        self.assertNotIn("StartDate", found)
        [listed] = self.scheduler.list_schedules(GroupName=self.group, State="DISABLED")["Schedules"]
        self.assertEqual((listed["Name"], listed["Target"]), ("s", {"Arn": self.target["Arn"]}))
        self.scheduler.delete_schedule(**schedule)
        self.refused("ResourceNotFoundException", 404, self.scheduler.get_schedule, **schedule)

    def test_a_group_has_tags_and_takes_its_schedules_along(self):
        arn = self.scheduler.get_schedule_group(Name=self.group)["Arn"]
        self.scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "l", "Value": "w"}])
        self.scheduler.untag_resource(ResourceArn=arn, TagKeys=["k"])
        tags = self.scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"]
        self.assertEqual(tags, [{"Key": "l", "Value": "w"}])
        self.scheduler.create_schedule(**self.settings(StartDate=START))
        groups = self.scheduler.list_schedule_groups(NamePrefix=self.group)["ScheduleGroups"]
        self.assertEqual([one["Name"] for one in groups], [self.group])
        self.scheduler.delete_schedule_group(Name=self.group)
        lost = {"Name": "s", "GroupName": self.group}
        self.refused("ResourceNotFoundException", 404, self.scheduler.get_schedule, **lost)

    def test_what_cannot_be_is_refused(self):
        create = self.scheduler.create_schedule
        self.refused("ValidationException", 400, create, **self.settings(ScheduleExpression="rate(0 hours)"))
        self.refused("ResourceNotFoundException", 404, create, **self.settings(GroupName=name("none")))
        create(**self.settings(StartDate=START))
        self.refused("ConflictException", 409, create, **self.settings(StartDate=START))
        again = self.scheduler.create_schedule_group
        self.refused("ConflictException", 409, again, Name=self.group)

    def test_the_command_line_shows_a_schedule(self):
        self.scheduler.create_schedule(**self.settings(StartDate=START))
        shown = aws("scheduler", "get-schedule", "--name", "s", "--group-name", self.group)
        self.assertEqual((shown["Name"], shown["FlexibleTimeWindow"]), ("s", {"Mode": "OFF"}))
        listed = aws("scheduler", "list-schedules", "--group-name", self.group)["Schedules"]
        self.assertEqual([one["GroupName"] for one in listed], [self.group])
