"""A simulator of users with drifting interests, for tests and for data of any size.

A user has latent interests over categories that turn slowly with every event. The next event's
category depends on the interests and on the categories of the latest events; its item on
popularity, or it is the sequel of the last item. Nobody sees an item twice. Ratings follow the
interest. Every random number is a hash of (seed, purpose, user, step), so users do not depend on
each other nor on how many are simulated at a time.

Shape suffixes: N users, L events, E events of all users, I items (in slots, grouped by main
category), G categories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userllm.data.columns import CATEGORIES, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.hashing import hash_keys, normal, uniform
from userllm.data.progress import track
from userllm.data.protocol import RawData
from userllm.data.synthetic_names import category_name, item_title
from userllm.data.synthetic_reviews import reviews
from userllm.errors import UserError

Array = NDArray[Any]

CHUNK = 2048
# How strongly interests, recent categories and sequels pull; chosen so that neither a user's
# favourites nor the latest events alone predict the next item.
INTEREST = 1.5
MOMENTUM = 1.0
MEMORY = 0.6
SEQUEL_SHARE = 0.3
# An unseen item that is drawn in vain so often is taken from the front of the catalogue instead.
DRAWS = 8
FIRST_SECOND = 946_684_800  # 2000-01-01
YEAR_SECONDS = 31_536_000
PAUSE_SHARE = 0.15


@dataclass(frozen=True)
class Catalogue:
    """Items in slots, grouped by main category.

    Attributes:
        item: Item number of each slot, [I].
        category: Main category of each slot, [I].
        cumulative: Category number plus the popularity of the slots up to this one inside the
            category, [I]; a sorted table from which (category + uniform) finds a slot.
        sequel: Slot of the next item in the same category, around and around, [I].
    """

    item: Array
    category: Array
    cumulative: Array
    sequel: Array


class Synthetic:
    """Simulated users, any number of them, the same for the same seed.

    Args:
        name: Names the dataset in cards and tables.
        users: Number of users.
        items: Number of items.
        events_per_user: Mean number of events of a user.
        categories: Number of categories; an item has one to three.
        drift: By how many radians a user's interests turn with every event; 0 = never.
        texts: Whether users also write short reviews; nothing else changes with it.
        seed: Another seed gives other users and other items.
        min_user_events: See ``Dataset``.
        min_item_events: See ``Dataset``.
    """

    def __init__(
        self,
        *,
        name: str,
        users: int,
        items: int,
        events_per_user: int,
        categories: int,
        drift: float,
        texts: bool,
        seed: int,
        min_user_events: int,
        min_item_events: int,
    ) -> None:
        if not 1 <= categories <= items:
            raise UserError(f"data.categories={categories}: expected 1 to data.items ({items})")
        if not 3 <= events_per_user <= items // 2:
            raise UserError(
                f"data.events_per_user={events_per_user}: expected 3 to half of data.items "
                f"({items}), because nobody sees an item twice"
            )
        if users < 1:
            raise UserError(f"data.users={users}: expected at least 1")
        self.name = name
        self.users = users
        self.num_items = items
        self.events_per_user = events_per_user
        self.num_categories = categories
        self.drift = drift
        self.texts = texts
        self.seed = seed
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events
        self.catalogue = self._catalogue()

    def read(self) -> RawData:
        """Simulate everybody."""
        chunks = track(self.chunks(), "simulating users", total=-(-self.users // CHUNK))
        settings = {
            "users": self.users,
            "items": self.num_items,
            "events_per_user": self.events_per_user,
            "categories": self.num_categories,
            "drift": self.drift,
            "texts": self.texts,
            "seed": self.seed,
        }
        provenance = {"source": "simulated", "licence": "none needed", "settings": settings}
        return RawData(pl.concat(chunks), self.items(), provenance)

    def chunks(self, users_per_chunk: int = CHUNK) -> Iterator[pl.DataFrame]:
        """Yield the events of some users at a time; the chunk size changes nothing else."""
        for first in range(0, self.users, users_per_chunk):
            yield self._simulate(np.arange(first, min(first + users_per_chunk, self.users)))

    def items(self) -> pl.DataFrame:
        """Return the item table."""
        slot_of_item = np.argsort(self.catalogue.item)
        main_I = self.catalogue.category[slot_of_item]
        item_I = np.arange(self.num_items)
        others = [
            (uniform(self.seed, 11 + nth, item_I) * self.num_categories).astype(int)
            for nth in range(2)
        ]
        extra_I = uniform(self.seed, 13, item_I)
        # Half of the items have one category, a third two, the rest three (unless they coincide).
        shown = [main_I, np.where(extra_I > 1 / 2, others[0], main_I)]
        shown.append(np.where(extra_I > 5 / 6, others[1], main_I))
        names = [sorted({category_name(int(c)) for c in row}) for row in np.stack(shown, axis=1)]
        return pl.DataFrame(
            {
                ITEM: item_I,
                TITLE: [item_title(i) for i in range(self.num_items)],
                CATEGORIES: names,
                YEAR: 1950 + (uniform(self.seed, 14, item_I) * 50).astype(np.int32),
            },
            schema_overrides={YEAR: pl.Int32, ITEM: pl.Int32},
        )

    def _catalogue(self) -> Catalogue:
        item_I = np.argsort(hash_keys(self.seed, 1, np.arange(self.num_items)))
        category_I = np.arange(self.num_items) * self.num_categories // self.num_items
        first_G = np.searchsorted(category_I, np.arange(self.num_categories))
        last_I = np.append(first_G[1:], self.num_items)[category_I] - 1
        place_I = np.lexsort((hash_keys(self.seed, 2, np.arange(self.num_items)), category_I))
        rank_I = np.empty_like(place_I)
        rank_I[place_I] = np.arange(self.num_items)
        weight_I = (rank_I - first_G[category_I] + 2.0) ** -0.8
        total_G = np.add.reduceat(weight_I, first_G)
        share_I = weight_I / total_G[category_I]
        slot_I = np.arange(self.num_items)
        sequel_I = np.where(slot_I == last_I, first_G[category_I], slot_I + 1)
        return Catalogue(item_I, category_I, np.cumsum(share_I), sequel_I)

    def _lengths(self, user_N: Array) -> Array:
        """Return each user's number of events: gamma-distributed, as long tails are usual."""
        draws = uniform(self.seed, 3, user_N) * uniform(self.seed, 4, user_N)
        length_N = (self.events_per_user * -np.log(draws) / 2).astype(int)
        least, most = max(3, self.events_per_user // 4), self.num_items * 3 // 4
        return np.asarray(np.clip(length_N, least, most))

    def _simulate(self, user_N: Array) -> pl.DataFrame:
        length_N = self._lengths(user_N)
        # Longest first: the users who still have events to come are then always a prefix.
        longest_first = np.argsort(-length_N, kind="stable")
        back = np.argsort(longest_first)
        walk = _Walk(self, user_N[longest_first])
        steps = int(length_N.max())
        slot_NL = np.zeros((len(user_N), steps), dtype=np.int32)
        rating_NL = np.zeros((len(user_N), steps), dtype=np.float32)
        active = np.searchsorted(-length_N[longest_first], -np.arange(steps), side="left")
        for step in range(steps):
            n = active[step]
            slot_NL[:n, step], rating_NL[:n, step] = walk.step(step, n)
        happened_NL = np.arange(steps) < length_N[:, None]
        slot_E = slot_NL[back][happened_NL]
        events = pl.DataFrame(
            {
                USER: np.repeat(user_N, length_N).astype(np.int32),
                ITEM: self.catalogue.item[slot_E].astype(np.int32),
                TIMESTAMP: self._times(user_N, steps)[happened_NL],
                RATING: rating_NL[back][happened_NL],
            }
        )
        return events.with_columns(self._texts(events, slot_E)) if self.texts else events

    def _texts(self, events: pl.DataFrame, slot_E: Array) -> pl.Series:
        names = [category_name(number) for number in range(self.num_categories)]
        user_E, item_E, rating_E = (events[c].to_numpy() for c in (USER, ITEM, RATING))
        return reviews(self.seed, user_E, item_E, rating_E, self.catalogue.category[slot_E], names)

    def _times(self, user_N: Array, steps: int) -> Array:
        """Return seconds [N, L]: sessions of events a minute apart, with days between them.

        Users begin at any time of one year and stay about another one, so that cutting everybody
        at one instant leaves histories on both sides.
        """
        gap_NL = -np.log(uniform(self.seed, 5, user_N[:, None], np.arange(steps)))
        pause_NL = uniform(self.seed, 6, user_N[:, None], np.arange(steps)) < PAUSE_SHARE
        gap_NL *= np.where(pause_NL, YEAR_SECONDS / (PAUSE_SHARE * self.events_per_user), 60)
        start_N1 = FIRST_SECOND + uniform(self.seed, 7, user_N[:, None]) * YEAR_SECONDS
        return np.asarray(start_N1 + np.cumsum(gap_NL, axis=1)).astype(np.int64)


class _Walk:
    """The state of some users while their events are drawn one step at a time."""

    def __init__(self, world: Synthetic, user_N: Array) -> None:
        self.world = world
        self.catalogue = world.catalogue
        self.key_N = hash_keys(world.seed, 8, user_N)
        category_G = np.arange(world.num_categories)
        now, later = (normal(world.seed, p, user_N[:, None], category_G) for p in (9, 10))
        self.now_NG = (INTEREST * now).astype(np.float32)
        self.later_NG = (INTEREST * later).astype(np.float32)
        self.recent_NG = np.zeros_like(self.now_NG)
        self.seen_NI = np.zeros((len(user_N), world.num_items), dtype=bool)
        self.last_N = np.zeros(len(user_N), dtype=np.int64)

    def step(self, step: int, n: int) -> tuple[Array, Array]:
        """Draw the next event of the first ``n`` users; return their slots and ratings."""
        angle = self.world.drift * step
        interest_NG = self.now_NG[:n] * np.float32(np.cos(angle))
        interest_NG += self.later_NG[:n] * np.float32(np.sin(angle))
        wish_NG = np.exp(interest_NG + np.float32(MOMENTUM) * self.recent_NG[:n])
        slot_N = self._unseen_slots(np.cumsum(wish_NG, axis=1), step)
        row_N, category_N = np.arange(n), self.catalogue.category[slot_N]
        self.seen_NI[row_N, slot_N] = True
        self.last_N[:n] = slot_N
        self.recent_NG[:n] *= MEMORY
        self.recent_NG[row_N, category_N] += 1
        liking_N = interest_NG[row_N, category_N] / INTEREST + normal(self.key_N[:n], 1, step)
        return slot_N, np.clip(np.rint(3 + 0.8 * liking_N), 1, 5)

    def _unseen_slots(self, cumulative_NG: Array, step: int) -> Array:
        slot_N = np.zeros(len(cumulative_NG), dtype=np.int64)
        todo = np.arange(len(cumulative_NG))
        for draw in range(DRAWS):
            slot_N[todo] = self._draw(cumulative_NG[todo], todo, step, draw)
            todo = todo[self.seen_NI[todo, slot_N[todo]]]
            if not len(todo):
                return slot_N
        slot_N[todo] = self.seen_NI[todo].argmin(axis=1)
        return slot_N

    def _draw(self, cumulative_NG: Array, row_N: Array, step: int, draw: int) -> Array:
        key_N = hash_keys(self.key_N[row_N], step, draw)
        goal_N = uniform(key_N, 2).astype(np.float32) * cumulative_NG[:, -1]
        category_N = (cumulative_NG[:, :-1] < goal_N[:, None]).sum(axis=1)
        found_N = np.searchsorted(self.catalogue.cumulative, category_N + uniform(key_N, 3))
        slot_N: Array = np.minimum(found_N, len(self.catalogue.item) - 1)
        if step == 0 or draw > 0:
            return slot_N
        follows_N = uniform(key_N, 4) < SEQUEL_SHARE
        return np.where(follows_N, self.catalogue.sequel[self.last_N[row_N]], slot_N)
