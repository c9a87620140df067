"""Where files are stored for good: an S3 bucket, or a directory where there is no AWS account."""
