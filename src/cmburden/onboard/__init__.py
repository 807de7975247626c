"""From a cohort as it is downloaded to a BIDS tree and the readers' truth."""
