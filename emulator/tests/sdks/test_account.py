"""S3, IAM, STS, SSM, and the control plane of API Gateway."""

import json
import urllib.request

import boto3

from common import ACCOUNT, ENDPOINT, REGION, EmulatorTest, aws, client, name

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }
)
ALLOW = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
)


class S3(EmulatorTest):
    def test_objects_are_put_listed_read_and_deleted(self):
        s3 = client("s3")
        bucket = name("bucket")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="a/b c.txt", Body=b"content", ContentType="text/plain")
        found = s3.get_object(Bucket=bucket, Key="a/b c.txt")
        self.assertEqual((found["Body"].read(), found["ContentType"]), (b"content", "text/plain"))
        self.assertEqual(s3.head_object(Bucket=bucket, Key="a/b c.txt")["ContentLength"], 7)
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]
        self.assertEqual([one["Key"] for one in listed], ["a/b c.txt"])
        shown = aws("s3api", "list-objects-v2", "--bucket", bucket)
        self.assertEqual(shown["Contents"][0]["Size"], 7)
        self.refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="none")
        s3.delete_object(Bucket=bucket, Key="a/b c.txt")
        s3.delete_bucket(Bucket=bucket)

    def test_a_bucket_keeps_its_settings(self):
        s3 = client("s3")
        bucket = name("bucket")
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, ACL="public-read")
        lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        self.assertEqual(lock["ObjectLockEnabled"], "Enabled")
        types = [one["Grantee"]["Type"] for one in s3.get_bucket_acl(Bucket=bucket)["Grants"]]
        self.assertEqual(types, ["CanonicalUser", "Group"])
        s3.put_bucket_acl(Bucket=bucket, GrantRead='uri="http://acs.amazonaws.com/groups/global/AllUsers"')
        grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
        self.assertEqual([(one["Grantee"]["Type"], one["Permission"]) for one in grants], [("Group", "READ")])
        rules = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
        size = "varies_by_storage_class"
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration=rules, TransitionDefaultMinimumObjectSize=size
        )
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        self.assertEqual((found["TransitionDefaultMinimumObjectSize"], found["Rules"]), (size, rules["Rules"]))
        logging = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "p"}}
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=logging)
        self.assertEqual(s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"], logging["LoggingEnabled"])
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
        self.assertNotIn("LoggingEnabled", s3.get_bucket_logging(Bucket=bucket))
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
        self.assertEqual(s3.get_bucket_request_payment(Bucket=bucket)["Payer"], "Requester")
        s3.delete_bucket_ownership_controls(Bucket=bucket)
        self.refused("OwnershipControlsNotFoundError", 404, s3.get_bucket_ownership_controls, Bucket=bucket)
        s3.delete_bucket(Bucket=bucket)

    def test_keys_have_letters_of_any_script_and_are_deleted_together(self):
        s3 = client("s3")
        bucket = name("bucket")
        s3.create_bucket(Bucket=bucket)
        keys = ["a%41", "a+b%", "ä/日 本"]
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=b"content")
        for shown in [s3.list_objects(Bucket=bucket), s3.list_objects_v2(Bucket=bucket)]:
            self.assertEqual([one["Key"] for one in shown["Contents"]], keys)
        versions = s3.list_object_versions(Bucket=bucket)["Versions"]
        self.assertEqual([one["Key"] for one in versions], keys)
        self.assertEqual(s3.list_objects_v2(Bucket=bucket, Prefix="ä/")["KeyCount"], 1)
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        s3.delete_bucket(Bucket=bucket)

    def test_an_object_has_what_it_was_put_copied_or_uploaded_with(self):
        s3 = client("s3")
        bucket = name("bucket")
        s3.create_bucket(Bucket=bucket)
        said = {"Metadata": {"a": "b"}, "CacheControl": "no-cache", "ContentEncoding": "gzip"}
        tags = [{"Key": "c", "Value": "d e"}]
        s3.put_object(Bucket=bucket, Key="put", Body=b"0123456789", Tagging="c=d+e", **said)
        source = {"Bucket": bucket, "Key": "put"}
        s3.copy_object(Bucket=bucket, Key="copied", CopySource=source)
        upload = {"Bucket": bucket, "Key": "uploaded"}
        upload["UploadId"] = s3.create_multipart_upload(**upload, Tagging="c=d+e", **said)["UploadId"]
        parts = []
        for number, part in enumerate(["bytes=0-4", "bytes=5-9"], 1):
            copied = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, CopySourceRange=part)
            parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        for key in ["put", "copied", "uploaded"]:
            found = s3.head_object(Bucket=bucket, Key=key)
            self.assertEqual({one: found.get(one) for one in said}, said, key)
            self.assertEqual(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), b"0123456789", key)
            self.assertEqual(s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"], tags, key)
            s3.delete_object(Bucket=bucket, Key=key)
        s3.delete_bucket(Bucket=bucket)

    def test_pages_of_lists_have_every_key_and_prefix_once(self):
        s3 = client("s3")
        bucket = name("bucket")
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for key in ["a/1", "a/2", "b", "b", "c/1"]:
            s3.put_object(Bucket=bucket, Key=key, Body=b"content")
        for operation in ["list_objects", "list_objects_v2"]:
            pages = s3.get_paginator(operation).paginate(
                Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
            )
            found = []
            for page in pages:
                found += [one["Key"] for one in page.get("Contents", [])]
                found += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
            self.assertEqual(found, ["a/", "b", "c/"], operation)
        s3.delete_object(Bucket=bucket, Key="b")
        pages = s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": 1}
        )
        found = []
        for page in pages:
            found += page.get("Versions", []) + page.get("DeleteMarkers", [])
        self.assertEqual([one["Key"] for one in found], ["a/1", "a/2", "b", "b", "b", "c/1"])
        self.assertEqual([one["IsLatest"] for one in found], [True, True, True, False, False, True])
        for one in found:
            s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        s3.delete_bucket(Bucket=bucket)

    def test_a_presigned_url_is_that_of_its_key_whatever_the_version_of_the_signature(self):
        bucket = name("bucket")
        client("s3").create_bucket(Bucket=bucket)
        client("s3").put_object(Bucket=bucket, Key="a b", Body=b"content")
        for options in [{}, {"signature_version": "s3v4"}]:
            params = {"Bucket": bucket, "Key": "a b"}
            url = client("s3", **options).generate_presigned_url("get_object", Params=params)
            with urllib.request.urlopen(url) as answer:
                self.assertEqual(answer.read(), b"content")
        client("s3").delete_object(Bucket=bucket, Key="a b")
        client("s3").delete_bucket(Bucket=bucket)


class Iam(EmulatorTest):
    def test_a_role_has_policies_and_tags(self):
        iam = client("iam")
        role = name("role")
        tags = [{"Key": "k", "Value": "v"}]
        made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST, Tags=tags)["Role"]
        self.assertEqual(made["Arn"], f"arn:aws:iam::{ACCOUNT}:role/{role}")
        iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=ALLOW)
        # botocore decodes the document, which IAM gives percent-encoded.
        self.assertEqual(iam.get_role_policy(RoleName=role, PolicyName="p")["PolicyDocument"], json.loads(ALLOW))
        self.assertEqual(iam.get_role(RoleName=role)["Role"]["Tags"], tags)
        policy = iam.create_policy(PolicyName=name("policy"), PolicyDocument=ALLOW)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName=role, PolicyArn=policy)
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        self.assertEqual([one["PolicyArn"] for one in attached], [policy])
        self.assertEqual(aws("iam", "get-role", "--role-name", role)["Role"]["RoleName"], role)
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
        iam.delete_policy(PolicyArn=policy)
        iam.delete_role_policy(RoleName=role, PolicyName="p")
        iam.delete_role(RoleName=role)
        self.refused("NoSuchEntity", 404, iam.get_role, RoleName=role)

    def test_the_caller_is_of_the_account(self):
        self.assertEqual(client("sts").get_caller_identity()["Account"], ACCOUNT)
        self.assertEqual(aws("sts", "get-caller-identity")["Account"], ACCOUNT)


    def test_a_session_of_a_role_may_do_what_the_role_may(self):
        iam, sts = client("iam"), client("sts")
        self.assertEqual(sts.get_caller_identity()["Arn"], f"arn:aws:iam::{ACCOUNT}:root")
        role, queue = name("role"), name("queue")
        account = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": account}]}
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=ALLOW)
        taken = sts.assume_role(RoleArn=arn, RoleSessionName="alice", DurationSeconds=900)["Credentials"]
        keys = {
            "aws_access_key_id": taken["AccessKeyId"],
            "aws_secret_access_key": taken["SecretAccessKey"],
            "aws_session_token": taken["SessionToken"],
        }
        as_role = lambda service: boto3.client(service, endpoint_url=ENDPOINT, region_name=REGION, **keys)
        session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/alice"
        self.assertEqual(as_role("sts").get_caller_identity()["Arn"], session)
        url = client("sqs").create_queue(QueueName=queue)["QueueUrl"]
        as_role("sqs").send_message(QueueUrl=url, MessageBody="a")
        self.refused("AccessDenied", 403, as_role("sqs").purge_queue, QueueUrl=url)
        self.refused("AccessDenied", 403, sts.assume_role, RoleArn=arn + "x", RoleSessionName="alice")
        client("sqs").delete_queue(QueueUrl=url)
        iam.delete_role_policy(RoleName=role, PolicyName="p")
        iam.delete_role(RoleName=role)

    def test_a_key_of_a_user_does_what_the_user_may_until_it_is_deleted(self):
        iam, user = client("iam"), name("user")
        arn = iam.create_user(UserName=user)["User"]["Arn"]
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
        as_user = lambda service: boto3.client(service, endpoint_url=ENDPOINT, region_name=REGION, **keys)
        self.assertEqual(as_user("sts").get_caller_identity()["Arn"], arn)
        url = client("sqs").create_queue(QueueName=name("queue"))["QueueUrl"]
        self.refused("AccessDenied", 403, as_user("sqs").send_message, QueueUrl=url, MessageBody="a")
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=ALLOW)
        as_user("sqs").send_message(QueueUrl=url, MessageBody="a")
        iam.delete_access_key(UserName=user, AccessKeyId=made["AccessKeyId"])
        self.refused("InvalidClientTokenId", 403, as_user("sqs").send_message, QueueUrl=url, MessageBody="a")
        self.refused("UnrecognizedClientException", 403, as_user("lambda").list_functions)
        self.refused("UnrecognizedClientException", 400, as_user("dynamodb").list_tables)
        self.refused("InvalidClientTokenId", 403, as_user("sts").get_caller_identity)
        self.refused("InvalidAccessKeyId", 403, as_user("s3").list_buckets)
        client("sqs").delete_queue(QueueUrl=url)
        iam.delete_user_policy(UserName=user, PolicyName="p")
        iam.delete_user(UserName=user)


class Ssm(EmulatorTest):
    def test_a_parameter_is_put_and_read(self):
        ssm = client("ssm")
        parameter = name("/p")
        ssm.put_parameter(Name=parameter, Value="v", Type="String")
        self.assertEqual(ssm.get_parameter(Name=parameter)["Parameter"]["Value"], "v")
        ssm.delete_parameter(Name=parameter)


class Gateway(EmulatorTest):
    def test_an_api_with_route_and_stage(self):
        gateway = client("apigatewayv2")
        api = gateway.create_api(Name="a", ProtocolType="HTTP", Tags={"k": "v"})["ApiId"]
        integration = gateway.create_integration(
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f",
            PayloadFormatVersion="2.0",
        )["IntegrationId"]
        gateway.create_route(ApiId=api, RouteKey="GET /x", Target=f"integrations/{integration}")
        gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        [route] = gateway.get_routes(ApiId=api)["Items"]
        self.assertEqual(route["RouteKey"], "GET /x")
        self.assertEqual(gateway.get_api(ApiId=api)["Tags"], {"k": "v"})
        self.assertEqual(aws("apigatewayv2", "get-stages", "--api-id", api)["Items"][0]["StageName"], "$default")
        self.refused("NotFoundException", 404, gateway.get_route, ApiId=api, RouteId="none")
        gateway.delete_api(ApiId=api)
        self.refused("NotFoundException", 404, gateway.get_api, ApiId=api)
