"""What quizcast is compared with, each built as its own manual would have it. Nothing here is part of quizcast."""
