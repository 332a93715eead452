"""What comes over the wire that no client of ours would send."""

from tests.client import Api
from tests.fix_nginx import Fronted


async def test_a_game_is_played_through_nginx(fronted: Fronted) -> None:
    async with Api(fronted.url) as api:
        game = await (await api.register()).game()
        ada = await game.join("Ada")
        async with ada.stream() as stream:
            await game.open()
            await stream.get("question")
            await ada.answered(0, 1)
            await game.close()
            assert (await stream.get("result"))["points"] > 0
            for number in range(2):
                fronted.stop(number)
                assert (await api.http.get("/api/v1/openapi.json")).status_code == 200
                fronted.start(number)
