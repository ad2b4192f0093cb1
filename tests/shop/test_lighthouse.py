"""What `make lighthouse` makes of Lighthouse's reports."""

import pytest

from benchmarks.lighthouse import GOALS, LighthouseFailed, Run, missed_goals, verdict


def run(**scores) -> Run:
    """A run that gave the categories these scores, each of them drawn from one audit."""
    return Run(
        {
            "categories": {
                name: {"score": score, "auditRefs": [{"id": f"{name}-audit", "weight": 1}]}
                for name, score in scores.items()
            },
            "audits": {
                f"{name}-audit": {"score": score, "title": f"About {name}"}
                for name, score in scores.items()
            },
        }
    )


def test_scores_are_whole_points():
    assert run(seo=0.58).score("seo") == 58
    assert run(seo=0.29).score("seo") == 29


def test_what_could_not_be_judged_is_not_taken_for_good():
    assert run(seo=None).score("seo") == 0


def test_a_failed_run_is_no_run():
    with pytest.raises(LighthouseFailed, match="again"):
        Run({"runtimeError": {"code": "NO_NAVSTART", "message": "Please run it again."}})


def test_a_busy_moment_does_not_spoil_performance():
    runs = [run(performance=score) for score in (0.99, 0.4, 1)]
    assert verdict("performance", runs) == 99


def test_half_of_the_runs_is_not_enough_for_performance():
    runs = [run(performance=score) for score in (1, 0.97, 1, 0.97)]
    assert verdict("performance", runs) == 97


def test_one_fault_in_one_run_counts():
    runs = [run(accessibility=score) for score in (1, 0.95, 1)]
    assert verdict("accessibility", runs) == 95
    faults = [each.faults("accessibility") for each in runs]
    assert faults == [[], ["accessibility-audit: About accessibility"], []]


def test_a_goal_is_missed_by_a_point():
    perfect = dict.fromkeys(GOALS, 1)
    runs = {"catalogue": [run(**{**perfect, "performance": 0.97})], "product": [run(**perfect)]}
    assert missed_goals(runs) == [("catalogue", "performance")]


def test_an_invoice_may_be_hidden_from_search_engines():
    hidden = run(**{**dict.fromkeys(GOALS, 1), "seo": 0.58})
    assert missed_goals({"invoice": [hidden]}) == []
    assert missed_goals({"product": [hidden]}) == [("product", "seo")]
