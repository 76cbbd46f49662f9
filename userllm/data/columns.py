"""The column names of every data frame in the project, written once."""

USER = "user"
ITEM = "item"
TIMESTAMP = "timestamp"
RATING = "rating"
TITLE = "title"
YEAR = "year"
CATEGORIES = "categories"
