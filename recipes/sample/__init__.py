"""The sample input of the quickstart, written for this project; see README.md."""
