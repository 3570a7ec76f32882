"""What a guest saw against what the recipe promises."""
