"""What there is, under the names that docker's templates have for it."""
