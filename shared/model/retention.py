"""How long a tenant's runs are kept."""

from dataclasses import dataclass

FLOOR_DAYS, DEFAULT_DAYS, CEILING_DAYS = 30, 365, 3_650


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days that a tenant's runs stay, between 30 and 3,650. Raises ValueError outside."""

    days: int = DEFAULT_DAYS

    def __post_init__(self) -> None:
        if not FLOOR_DAYS <= self.days <= CEILING_DAYS:
            raise ValueError(f"retention must be {FLOOR_DAYS} to {CEILING_DAYS} days")
