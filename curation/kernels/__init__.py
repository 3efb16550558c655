"""What a word, a line, a paragraph and a sentence are: one definition for the whole project."""
