"""Small working doubles and builders that users of Cloister want in their own tests, too."""
