"""Lab 5's exams: a ViT around an encoder of Hugging Face, and our weights in two libraries' models."""
