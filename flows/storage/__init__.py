"""Files and objects by URL: in folders, in memory and in S3."""
