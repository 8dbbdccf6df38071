"""A small world and a small loop that tests of the replay start from, and a contest small enough to count by hand."""

import pandas as pd

from training.config import parse_config
from training.policy_replay.environments import ReplayedWorld, describe_simulation
from training.policy_replay.experiment import Experiment
from training.policy_replay.replay import ReplaySettings

MAKER = describe_simulation(None, days=37, per_day=36, prevalence="operation")
SETTINGS = ReplaySettings(
    capacity=4, explore=0.25, warm_up_days=21, retrain_days=14, target="any_offence", background=0.2
)
SPLIT = {"validation_days": 7, "label_delay_days": 3}
CONFIG = parse_config({"split": SPLIT, "model": {"trees": 12}, "weights": {"background_share": 1.0}})

FIRST_DAY = 19_723
# Policy to what it finds on days 14, 21 and 28 under two seeds.
FOUND = {
    "greedy": {1: (1, 0, 0), 2: (1, 0, 1)},
    "explore": {1: (0, 1, 1), 2: (1, 1, 1)},
    "oracle": {1: (1, 1, 1), 2: (1, 1, 1)},
}
NETWORKS = ("webshop", "webshop", "khat_network")


def contest(found=FOUND, events=(("a cover goes out of use", 21),)):
    openings, positives = [], []
    for policy, seed, hits in [(name, *run) for name, seeds in found.items() for run in seeds.items()]:
        shared = {"policy": policy, "seed": seed, "channel": "postal", "warm_up": False}
        weeks = zip((14, 21, 28), NETWORKS, map(bool, hits), strict=True)
        for number, (day, network, hit) in enumerate(weeks):
            own = shared | {"day": FIRST_DAY + day, "within_capacity": True}
            name, result = (f"P{number}", "nps") if hit else (f"N{number}", "clear")
            openings.append(own | {"consignment_id": name, "found": hit, "result": result})
            openings.append(own | {"consignment_id": f"X{number}", "found": False, "result": "other_offence"})
            sent = {"consignment_id": f"P{number}", "network": network, "found": hit, "within_capacity": hit}
            positives.append(own | sent)
        tip = openings[-1] | {"found": True, "result": "nps", "within_capacity": False}
        past = {"day": FIRST_DAY, "warm_up": True}
        openings += [tip | past | {"within_capacity": True}, tip]
        positives.append(positives[-1] | past | {"found": True})
    settings = ReplaySettings(capacity=1, warm_up_days=7)
    world = ReplayedWorld(MAKER.create, 35, FIRST_DAY, MAKER.header, list(events))
    return Experiment(pd.DataFrame(openings), pd.DataFrame(positives), settings, world)
