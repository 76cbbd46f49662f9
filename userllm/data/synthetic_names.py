"""Names for simulated categories and items."""


def _words(text: str) -> list[str]:
    return text.split()


GENRES = _words("""
    Action Adventure Animation Biography Comedy Crime Documentary Drama Family Fantasy History
    Horror Music Musical Mystery Noir Romance Sci-Fi Short Sport Thriller Travel War Western
""")
ADJECTIVES = _words("""
    Silent Golden Broken Hidden Distant Burning Frozen Gentle Crooked Electric Forgotten Endless
    Scarlet Hollow Midnight Restless Velvet Wandering Savage Tender Invisible Paper Northern Last
""")
NOUNS = _words("""
    Harbor Garden River Empire Letter Station Orchard Mirror Winter Stranger Bridge Lantern Island
    Promise Shadow Carnival Highway Kingdom Lighthouse Machine Meadow Mountain Ocean Orchid Parade
    Planet Prisoner Railway Rebel Secret Sparrow Storm Summer Theatre Tiger Tower Valley Village
    Voyage Wedding
""")


def category_name(number: int) -> str:
    """Return a genre, and after the last one the genres again with a number."""
    again, index = divmod(number, len(GENRES))
    return GENRES[index] if again == 0 else f"{GENRES[index]} {again + 1}"


def item_title(number: int) -> str:
    """Return a title of its own for every number."""
    rest, adjective = divmod(number, len(ADJECTIVES))
    part, noun = divmod(rest, len(NOUNS))
    title = f"The {ADJECTIVES[adjective]} {NOUNS[noun]}"
    return title if part == 0 else f"{title}, Part {part + 1}"
