"""Problems with a known answer: where they come from, how they are solved, and when an answer is right."""
