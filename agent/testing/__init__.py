"""What tests of plugins use, here and elsewhere: transcripts, conformance, fakes at the lowest real boundary."""
