variable "name_prefix" {
  description = "First part of both table names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower case letters, digits and hyphens, and start with a letter."
  }
}

variable "point_in_time_recovery" {
  description = "Keep continuous backups of the tasks table. Costs about 0.20 USD per GB and month."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to delete the tables until this is turned off again."
  type        = bool
  default     = false
}

variable "provisioned_capacity" {
  description = "Capacity of the tasks table and, once more, of its index. Null, the default, is on demand."
  type = object({
    read_units  = number
    write_units = number
  })
  default = null

  validation {
    condition     = var.provisioned_capacity == null || try(min(var.provisioned_capacity.read_units, var.provisioned_capacity.write_units) >= 1, false)
    error_message = "provisioned_capacity must be at least 1 of each, as DynamoDB asks."
  }
}
