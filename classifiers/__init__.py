"""What a small model judges: language and educational value, and how such a classifier is trained."""
