# The view of all tasks. The queue message is the durable record; a row can always be made again from it.
resource "aws_dynamodb_table" "tasks" {
  name = "${var.name_prefix}-tasks"

  # On demand by default: load comes in bursts, and nobody has to guess capacity. A cap, if wanted, is set per table on AWS.
  billing_mode                = var.provisioned_capacity == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  read_capacity               = try(var.provisioned_capacity.read_units, null)
  write_capacity              = try(var.provisioned_capacity.write_units, null)
  hash_key                    = "task_id"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "task_id"
    type = "S"
  }

  # "{owner}#{shard}": one busy owner spreads over several partitions (1,000 writes per second each).
  attribute {
    name = "owner_shard"
    type = "S"
  }

  # "{created_at_ms}#{task_id}": newest first is a backward query, and ties keep an order.
  attribute {
    name = "owner_sort"
    type = "S"
  }

  # GET /tasks answers from this index alone, so that a page never costs a read per task. It has what is shown of a task, with the
  # table's key, and what its queries filter by; nobody reads payloads here, and each write of one would be paid for twice.
  global_secondary_index {
    name            = local.owner_index
    hash_key        = "owner_shard"
    range_key       = "owner_sort"
    projection_type = "INCLUDE"
    read_capacity   = try(var.provisioned_capacity.read_units, null)
    write_capacity  = try(var.provisioned_capacity.write_units, null)

    non_key_attributes = [
      "kind", "status", "version", "attempts", "created_at_ms", "updated_at_ms", "result", "error_type", "error_message",
    ]
  }

  timeouts {
    # An index of many tasks takes hours to be made anew; by default the provider gives up after one.
    update = "12h"
  }

  # Finished tasks go away by themselves; TTL deletes cost nothing.
  ttl {
    attribute_name = "expires_at_seconds"
    enabled        = true
  }

  # A bad release can be undone to the second, for 35 days.
  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}

# One row per open WebSocket connection. Losing it costs clients a reconnect, so it has no backups.
resource "aws_dynamodb_table" "connections" {
  name = "${var.name_prefix}-connections"

  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "owner"
  range_key                   = "connection_id"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "owner"
    type = "S"
  }

  attribute {
    name = "connection_id"
    type = "S"
  }

  # $disconnect is best effort on AWS and a connection lives for 2 hours at most: TTL takes what was left behind.
  ttl {
    attribute_name = "expires_at_seconds"
    enabled        = true
  }
}

locals {
  owner_index = "owner-index"
}
