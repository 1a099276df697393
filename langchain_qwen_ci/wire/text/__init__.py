"""What the compatible APIs have in their texts: citations, and reasoning in tags."""
