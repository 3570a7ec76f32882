"""Reading and writing VISO recipes: text to `Recipe`, and back."""
