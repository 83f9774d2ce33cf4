"""What tests of plugins use, here and in other repositories: transcripts, conformance, fakes at the lowest real boundary."""
