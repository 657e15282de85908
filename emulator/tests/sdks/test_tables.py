"""DynamoDB: tables, items, conditions, transactions, and both ways of paging."""

from common import EmulatorTest, aws, client, name


class Tables(EmulatorTest):
    def setUp(self):
        self.tables = client("dynamodb")
        self.table = name("t")
        self.tables.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "S"},
                {"AttributeName": "n", "AttributeType": "N"},
                {"AttributeName": "owner", "AttributeType": "S"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-owner",
                    "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        self.tables.get_waiter("table_exists").wait(TableName=self.table)

    def put(self, n, **more):
        item = {"id": {"S": "a"}, "n": {"N": str(n)}, "owner": {"S": "o"}}
        return self.tables.put_item(TableName=self.table, Item=item, **more)

    def test_items_are_put_read_updated_and_deleted(self):
        item = {
            "id": {"S": "a"},
            "n": {"N": "1"},
            "bytes": {"B": b"\x00\xff"},
            "set": {"SS": ["x"]},
            "map": {"M": {"l": {"L": [{"BOOL": True}, {"NULL": True}]}}},
        }
        self.tables.put_item(TableName=self.table, Item=item)
        key = {"id": {"S": "a"}, "n": {"N": "1"}}
        self.assertEqual(self.tables.get_item(TableName=self.table, Key=key, ConsistentRead=True)["Item"], item)
        updated = self.tables.update_item(
            TableName=self.table,
            Key=key,
            UpdateExpression="ADD hits :one SET #o = :o",
            ExpressionAttributeNames={"#o": "owner"},
            ExpressionAttributeValues={":one": {"N": "1"}, ":o": {"S": "me"}},
            ReturnValues="UPDATED_NEW",
        )
        self.assertEqual(updated["Attributes"], {"hits": {"N": "1"}, "owner": {"S": "me"}})
        gone = self.tables.delete_item(TableName=self.table, Key=key, ReturnValues="ALL_OLD")
        self.assertEqual(gone["Attributes"]["owner"], {"S": "me"})

    def test_conditions_and_transactions_fail_typed(self):
        self.put(1)
        condition = {"ConditionExpression": "attribute_not_exists(id)"}
        with self.assertRaises(self.tables.exceptions.ConditionalCheckFailedException):
            self.put(1, **condition)
        item = {"id": {"S": "a"}, "n": {"N": "1"}}
        put = {"Put": {"TableName": self.table, "Item": item, **condition}}
        with self.assertRaises(self.tables.exceptions.TransactionCanceledException) as caught:
            self.tables.transact_write_items(TransactItems=[put])
        self.assertEqual(caught.exception.response["CancellationReasons"][0]["Code"], "ConditionalCheckFailed")
        missing = {"TableName": name("none"), "Key": item}
        self.refused("ResourceNotFoundException", 400, self.tables.get_item, **missing)
        self.refused("ValidationException", 400, self.tables.get_item, TableName=self.table, Key={"id": {"S": "a"}})

    def test_queries_page_over_table_and_index(self):
        for n in range(5):
            self.put(n)
        for index, key, value in [({}, "id", "a"), ({"IndexName": "by-owner"}, "owner", "o")]:
            pages = self.tables.get_paginator("query").paginate(
                TableName=self.table,
                KeyConditionExpression="#k = :k",
                ExpressionAttributeNames={"#k": key},
                ExpressionAttributeValues={":k": {"S": value}},
                PaginationConfig={"PageSize": 2},
                **index,
            )
            self.assertEqual([len(page["Items"]) for page in pages], [2, 2, 1], index)
        self.assertEqual(self.tables.scan(TableName=self.table, Select="COUNT")["Count"], 5)

    def test_settings_of_a_table(self):
        described = self.tables.describe_table(TableName=self.table)["Table"]
        self.assertEqual(described["TableStatus"], "ACTIVE")
        specification = {"Enabled": True, "AttributeName": "expires"}
        self.tables.update_time_to_live(TableName=self.table, TimeToLiveSpecification=specification)
        ttl = self.tables.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]
        self.assertEqual(ttl["AttributeName"], "expires")
        recovery = {"PointInTimeRecoveryEnabled": True}
        self.tables.update_continuous_backups(TableName=self.table, PointInTimeRecoverySpecification=recovery)
        backups = self.tables.describe_continuous_backups(TableName=self.table)["ContinuousBackupsDescription"]
        self.assertEqual(backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "ENABLED")
        arn = described["TableArn"]
        self.tables.tag_resource(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
        self.assertEqual(self.tables.list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "k", "Value": "v"}])

    def test_the_command_line_describes_and_deletes(self):
        shown = aws("dynamodb", "describe-table", "--table-name", self.table)
        self.assertEqual(shown["Table"]["TableName"], self.table)
        aws("dynamodb", "delete-table", "--table-name", self.table)
        aws("dynamodb", "wait", "table-not-exists", "--table-name", self.table)
