"""What several formats write with: unique names, many small text files, XML elements."""
