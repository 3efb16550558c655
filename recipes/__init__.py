"""What ships with the project: recipes, and the sample they run on."""
